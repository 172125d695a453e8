#include "server/parent/command_line.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/parent/version.h"

namespace holdfast {
namespace {

constexpr absl::string_view kWithArgument = "BDPfT";

constexpr absl::string_view kTraceWords[] = {
    "imsg",   "io",       "smtp",         "filters",      "mta",    "transfer",
    "bounce", "bounces",  "scheduler",    "lookup",       "stat",   "stats",
    "rules",  "mproc",    "expand",       "table",        "tables", "queue",
    "all",    "profstat", "profile-imsg", "profile-queue"};
constexpr absl::string_view kSubsystems[] = {"smtp", "mta", "mda"};
constexpr absl::string_view kBackends[] = {"queue=", "scheduler=", "stat="};

template <class List>
bool Has(const List& list, absl::string_view word) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

// The flags without an argument.  False: there is no such flag.
bool TakeFlag(char flag, CommandLine* out) {
  switch (flag) {
    case 'd':
      out->output = CommandLine::Output::kDebug;
      return true;
    case 'F':
      if (out->output == CommandLine::Output::kDaemon)
        out->output = CommandLine::Output::kForeground;
      return true;
    case 'n':
      out->check_only = true;
      return true;
    case 'v':
      out->verbose = true;
      return true;
    case 'h':
      out->messages.push_back(absl::StrCat("version: ", kVersion, " (",
                                           kCompatibleWith, " compatible)"));
      out->usage = true;
      return true;
    default:
      return false;
  }
}

void TakeArgument(char flag, const std::string& value, CommandLine* out) {
  switch (flag) {
    case 'D':
      out->definitions.push_back(value);
      return;
    case 'f':
      out->config_path = value;
      return;
    case 'P':
      if (Has(kSubsystems, value)) out->paused.push_back(value);
      return;
    case 'T':
      if (!Has(kTraceWords, value)) {
        out->messages.push_back(
            absl::StrCat("warn: unknown trace flag \"", value, "\""));
      }
      return;
    case 'B':
      if (!std::any_of(std::begin(kBackends), std::end(kBackends),
                       [&](absl::string_view name) {
                         return absl::StartsWith(value, name);
                       })) {
        out->messages.push_back(
            absl::StrCat("warn: invalid backend specifier ", value));
      }
      return;
  }
}

}  // namespace

std::string Usage() {
  return "usage: smtpd [-dFhnv] [-D macro=value] [-f file] [-P system] "
         "[-T trace]";
}

CommandLine ParseCommandLine(const std::vector<std::string>& arguments) {
  CommandLine out;
  for (size_t i = 0; i < arguments.size() && !out.usage; ++i) {
    const std::string& word = arguments[i];
    if (word == "--" && i + 1 == arguments.size()) break;
    if (word.size() < 2 || word[0] != '-') {
      out.usage = true;  // stray argument
      break;
    }
    for (size_t at = 1; at < word.size() && !out.usage; ++at) {
      const char flag = word[at];
      if (TakeFlag(flag, &out)) continue;
      if (kWithArgument.find(flag) == absl::string_view::npos) {
        out.messages.push_back(absl::StrCat("smtpd: invalid option -- '",
                                            std::string(1, flag), "'"));
        out.usage = true;
        break;
      }
      std::string value = word.substr(at + 1);
      if (value.empty()) {
        if (++i == arguments.size()) {
          out.messages.push_back(
              absl::StrCat("smtpd: option requires an argument -- '",
                           std::string(1, flag), "'"));
          out.usage = true;
          break;
        }
        value = arguments[i];
      }
      TakeArgument(flag, value, &out);
      break;
    }
  }
  return out;
}

}  // namespace holdfast
