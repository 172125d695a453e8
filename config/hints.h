// What is said below an error, to help.
#ifndef HOLDFAST_CONFIG_HINTS_H_
#define HOLDFAST_CONFIG_HINTS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace holdfast {

// The candidate that `word` was probably meant to be: the nearest within a
// third of its letters (at least one; a swap of neighbours counts as one), the
// first of several.  Empty: none is near, or `word` is one.
std::string NearMiss(absl::string_view word,
                     const std::vector<std::string>& candidates);

// `text` without what would disturb a terminal: "\x1b" for such octets.
std::string Printable(absl::string_view text);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_HINTS_H_
