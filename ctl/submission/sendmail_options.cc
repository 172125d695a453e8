#include "ctl/submission/sendmail_options.h"

#include <sysexits.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace holdfast {
namespace {

// As getopt(3) takes it: ':' needs an argument, '::' may have one, attached.
constexpr absl::string_view kOptions =
    "A:B:b:E::e:F:f:iJ::L:mN:o:p:qr:R:StvV:x";

constexpr absl::string_view kUsage =
    "usage: sendmail [-tv] [-f from] [-F name] to ...\n";

enum class Takes { kUnknown, kNothing, kArgument, kAttached };

Takes WhatItTakes(char letter) {
  if (letter == ':') return Takes::kUnknown;
  const size_t at = kOptions.find(letter);
  if (at == absl::string_view::npos) return Takes::kUnknown;
  const absl::string_view rest = kOptions.substr(at + 1);
  if (absl::StartsWith(rest, "::")) return Takes::kAttached;
  return absl::StartsWith(rest, ":") ? Takes::kArgument : Takes::kNothing;
}

void Stop(int status, std::string error, SendmailOptions* options) {
  options->exit = status;
  options->error = std::move(error);
}

void SetSender(absl::string_view text, SendmailOptions* options) {
  if (absl::StartsWith(text, "<")) {
    if (!absl::EndsWith(text, ">"))
      return Stop(1, "sendmail: leading < but no trailing >\n", options);
    text = text.substr(1, text.size() - 2);
  }
  options->sender = std::string(text);
}

void Apply(char letter, const std::string& value, SendmailOptions* options) {
  switch (letter) {
    case 'f':
    case 'r':
      return SetSender(value, options);
    case 'F':
      options->full_name = value;
      return;
    case 't':
      options->recipients_from_headers = true;
      return;
    case 'v':
      options->verbose = true;
      return;
    case 'S':
      options->no_login_name = true;
      return;
    case 'N':
      options->notify = value;
      return;
    case 'R':
      options->ret = value;
      return;
    case 'V':
      options->envid = value;
      return;
    case 'b':
      if (value == "i") options->newaliases = true;
      return;
    case 'q':
      return Stop(EX_SOFTWARE, "", options);
    case 'J':
      return Stop(1, std::string(kUsage), options);
    default:
      return;  // accepted, ignored
  }
}

// One word beginning with '-': letters, the last of which may take the rest or
// the next word.
void ParseWord(const std::vector<std::string>& arguments, size_t* at,
               SendmailOptions* options) {
  const std::string& word = arguments[*at];
  for (size_t i = 1; i < word.size() && !options->exit; ++i) {
    const char letter = word[i];
    const std::string rest = word.substr(i + 1);
    switch (WhatItTakes(letter)) {
      case Takes::kUnknown:
        return Stop(1,
                    absl::StrCat("sendmail: invalid option -- '",
                                 absl::string_view(&letter, 1), "'\n", kUsage),
                    options);
      case Takes::kNothing:
        Apply(letter, "", options);
        break;
      case Takes::kAttached:
        return Apply(letter, rest, options);
      case Takes::kArgument:
        if (!rest.empty()) return Apply(letter, rest, options);
        if (*at + 1 == arguments.size())
          return Stop(
              1,
              absl::StrCat("sendmail: option requires an argument -- '",
                           absl::string_view(&letter, 1), "'\n", kUsage),
              options);
        return Apply(letter, arguments[++*at], options);
    }
  }
}

}  // namespace

SendmailOptions ParseSendmailOptions(
    const std::vector<std::string>& arguments) {
  SendmailOptions options;
  bool ended = false;
  for (size_t at = 0; at < arguments.size() && !options.exit; ++at) {
    const std::string& word = arguments[at];
    if (!ended && word == "--") {
      ended = true;
    } else if (!ended && word.size() > 1 && word[0] == '-') {
      ParseWord(arguments, &at, &options);
    } else {
      options.recipients.push_back(word);
    }
  }
  return options;
}

}  // namespace holdfast
