// Options of one letter, as getopt(3) takes them: letters may stand together,
// an argument behind its letter or in the next word, options and operands in
// any order; "--" ends the options.  Pure.
#ifndef HOLDFAST_CTL_CONTROL_SHORT_OPTIONS_H_
#define HOLDFAST_CTL_CONTROL_SHORT_OPTIONS_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace holdfast {

struct ShortOptions {
  // Getopt's: ':' behind a letter: it needs an argument; '::': it may have one,
  // in the same word.
  absl::string_view letters;
  // Of each option, in order; false: look no further.
  std::function<bool(char letter, const std::string& value)> on_option;
};

struct ShortOptionsResult {
  std::vector<std::string> operands;
  // "invalid option -- 'x'", "option requires an argument -- 'x'"; empty: none.
  std::string error;
};

ShortOptionsResult ParseShortOptions(const std::vector<std::string>& arguments,
                                     const ShortOptions& options);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_CONTROL_SHORT_OPTIONS_H_
