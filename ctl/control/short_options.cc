#include "ctl/control/short_options.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

enum class Takes { kUnknown, kNothing, kArgument, kAttached };

Takes WhatItTakes(absl::string_view letters, char letter) {
  const size_t at = letter == ':' ? letters.npos : letters.find(letter);
  if (at == letters.npos) return Takes::kUnknown;
  const absl::string_view rest = letters.substr(at + 1);
  if (absl::StartsWith(rest, "::")) return Takes::kAttached;
  return absl::StartsWith(rest, ":") ? Takes::kArgument : Takes::kNothing;
}

std::string Wrong(absl::string_view what, char letter) {
  return absl::StrCat(what, " -- '", absl::string_view(&letter, 1), "'");
}

// One word beginning with '-': letters, the last of which may take the rest or
// the next word.  False: look no further.
bool ParseWord(const std::vector<std::string>& arguments, size_t* at,
               const ShortOptions& options, std::string* error) {
  const std::string& word = arguments[*at];
  for (size_t i = 1; i < word.size(); ++i) {
    const char letter = word[i];
    const std::string rest = word.substr(i + 1);
    switch (WhatItTakes(options.letters, letter)) {
      case Takes::kUnknown:
        *error = Wrong("invalid option", letter);
        return false;
      case Takes::kNothing:
        if (!options.on_option(letter, "")) return false;
        break;
      case Takes::kAttached:
        return options.on_option(letter, rest);
      case Takes::kArgument:
        if (!rest.empty()) return options.on_option(letter, rest);
        if (*at + 1 < arguments.size())
          return options.on_option(letter, arguments[++*at]);
        *error = Wrong("option requires an argument", letter);
        return false;
    }
  }
  return true;
}

}  // namespace

ShortOptionsResult ParseShortOptions(const std::vector<std::string>& arguments,
                                     const ShortOptions& options) {
  ShortOptionsResult result;
  bool ended = false;
  for (size_t at = 0; at < arguments.size(); ++at) {
    const std::string& word = arguments[at];
    if (!ended && word == "--") {
      ended = true;
    } else if (!ended && word.size() > 1 && word[0] == '-') {
      if (!ParseWord(arguments, &at, options, &result.error)) break;
    } else {
      result.operands.push_back(word);
    }
  }
  return result;
}

}  // namespace holdfast
