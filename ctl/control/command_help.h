// `smtpctl help [COMMAND]`: what each command is for.  Pure.
#ifndef HOLDFAST_CTL_CONTROL_COMMAND_HELP_H_
#define HOLDFAST_CTL_CONTROL_COMMAND_HELP_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"

namespace holdfast {

struct CommandHelp {
  // The words it begins with; the longest that fits a command is its help.
  absl::string_view words;
  // One line, without an end.
  absl::string_view summary;
  // More lines, each with its end; may be empty.
  absl::string_view details;
  // Options that may stand in the rest of the line, separated by blanks: what
  // completion offers there.
  absl::string_view options;
};

absl::Span<const CommandHelp> AllCommandHelp();

// Of a command as typed, or a line of CommandLines(); null: there is none.
const CommandHelp* FindCommandHelp(absl::string_view command);

// What `help` with these words behind it prints: all commands, or those that
// begin with the words (which may be abbreviated), with their details.
// nullopt: no command begins so.
absl::optional<std::string> HelpText(const std::vector<std::string>& words);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_CONTROL_COMMAND_HELP_H_
