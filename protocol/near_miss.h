// "did you mean": what a word was probably meant to be.
#ifndef HOLDFAST_PROTOCOL_NEAR_MISS_H_
#define HOLDFAST_PROTOCOL_NEAR_MISS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace holdfast {

// The candidate that `word` was probably meant to be: the nearest within a
// third of its letters (at least one; a swap of neighbours counts as one), the
// first of several.  Empty: none is near, or `word` is one.
std::string NearMiss(absl::string_view word,
                     const std::vector<std::string>& candidates);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_NEAR_MISS_H_
