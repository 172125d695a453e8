// The commands of smtpctl: words with abbreviations (reference part 2, section
// 5.1).  Pure.
#ifndef HOLDFAST_CTL_CONTROL_COMMAND_GRAMMAR_H_
#define HOLDFAST_CTL_CONTROL_COMMAND_GRAMMAR_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace holdfast {

struct ParsedCommand {
  // The full words; empty if there was an error.
  std::vector<std::string> words;
  // Lines for stderr (exit status 255): "invalid command", or "possibilities
  // are:" and what may stand there.
  std::vector<std::string> errors;
};

// What there is, a line each, in order: words and <arguments>; "<argument>..."
// is all that follows.
absl::Span<const absl::string_view> CommandLines();

// A literal word wins over an abbreviation, that over an argument.
ParsedCommand ParseCommand(const std::vector<std::string>& words);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_CONTROL_COMMAND_GRAMMAR_H_
