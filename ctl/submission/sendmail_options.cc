#include "ctl/submission/sendmail_options.h"

#include <sysexits.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "ctl/control/short_options.h"

namespace holdfast {
namespace {

// As getopt(3) takes it: ':' needs an argument, '::' may have one, attached.
constexpr absl::string_view kOptions =
    "A:B:b:E::e:F:f:iJ::L:mN:o:p:qr:R:StvV:x";

constexpr absl::string_view kUsage =
    "usage: sendmail [-tv] [-f from] [-F name] to ...\n";

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

}  // namespace

SendmailOptions ParseSendmailOptions(
    const std::vector<std::string>& arguments) {
  SendmailOptions options;
  ShortOptionsResult parsed = ParseShortOptions(
      arguments, {kOptions, [&](char letter, const std::string& value) {
                    Apply(letter, value, &options);
                    return !options.exit;
                  }});
  if (!parsed.error.empty())
    Stop(1, absl::StrCat("sendmail: ", parsed.error, "\n", kUsage), &options);
  options.recipients = std::move(parsed.operands);
  return options;
}

}  // namespace holdfast
