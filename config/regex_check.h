// Where a pattern does not mean to RE2 what it means to regcomp(3) with
// REG_EXTENDED, which OpenSMTPD uses.
#ifndef HOLDFAST_CONFIG_REGEX_CHECK_H_
#define HOLDFAST_CONFIG_REGEX_CHECK_H_

#include <re2/re2.h>

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

// What one compiled pattern may use; a larger one never matches.
inline constexpr int64_t kMaxPatternMemory = 1 << 20;

// How patterns of tables are compiled; `memory` in bytes.
re2::RE2::Options RegexOptions(int64_t memory);

// What to warn of, in one line without the pattern; empty: nothing.  Which
// part of the text matches does not matter here, only whether one does: the
// rule of the leftmost longest match makes no difference.
std::string RegexConcern(absl::string_view pattern);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_REGEX_CHECK_H_
