// A Config in its own language (smtpd.conf(5)).
#ifndef HOLDFAST_CONFIG_PRINT_H_
#define HOLDFAST_CONFIG_PRINT_H_

#include <string>

#include "absl/strings/string_view.h"
#include "config/config.h"

namespace holdfast {

// The text that gives this configuration again when it is parsed for the same
// server name and addresses: macros and included files resolved, defaults
// written out.  Files are named as they were, and read again then.
// It holds the secrets of `srs` and `queue encryption`, as the file does.
std::string ConfigToText(const Config& config);

// `text` so that the lexer gives it back as one string, in quotes if that can
// be: nothing in quotes can end in a backslash.
std::string QuoteForConfig(absl::string_view text);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_PRINT_H_
