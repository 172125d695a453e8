// A Config in its own language (smtpd.conf(5)).
#ifndef HOLDFAST_CONFIG_PRINT_H_
#define HOLDFAST_CONFIG_PRINT_H_

#include <functional>
#include <string>

#include "absl/strings/string_view.h"
#include "config/config.h"

namespace holdfast {

// The text that gives this configuration again when it is parsed for the same
// server name and addresses: macros and included files resolved, defaults
// written out.  Files are named as they were, and read again then.
// It holds the secrets of `srs` and `queue encryption`, as the file does.
std::string ConfigToText(const Config& config);

// The same for a process that must not know secrets: the keys of `srs` and
// `queue encryption` and the entries of all tables but those that `shown` lets
// through are replaced by one stand-in; without `values` so are the values of
// these.  What is parsed from it has the same listeners, actions and rules, in
// the same order.
std::string ConfigToTextWithoutSecrets(
    const Config& config, const std::function<bool(const Table&)>& shown,
    bool values = true);

// Everything but the keys of `queue encryption`, which are said to be asked
// for.
std::string ConfigToTextWithoutQueueKeys(const Config& config);

// `text` so that the lexer gives it back as one string, in quotes if that can
// be: nothing in quotes can end in a backslash.
std::string QuoteForConfig(absl::string_view text);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_PRINT_H_
