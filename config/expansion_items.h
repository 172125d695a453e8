// What stands to the right of a name in an aliases file, on the lines of a file
// that it includes, and in ~/.forward (aliases(5), forward(5); reference part
// 1, sections 3.5 and 3.6).
#ifndef HOLDFAST_CONFIG_EXPANSION_ITEMS_H_
#define HOLDFAST_CONFIG_EXPANSION_ITEMS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace holdfast {

// Lines and values are shorter than this.
inline constexpr size_t kMaxExpansionBytes = 2048;
inline constexpr size_t kMaxItemBytes = 1023;

struct ExpansionItem {
  enum class Kind : uint8_t {
    kError,    // text: "550 go away"
    kInclude,  // text: an absolute path
    kPipe,     // text: "|command arguments"
    kFile,     // text: an absolute path
    kAddress,  // text: "user@domain"
    kUser,     // text: the name, perhaps with a tag
  };
  Kind kind = Kind::kUser;
  std::string text;

  friend bool operator==(const ExpansionItem& a, const ExpansionItem& b) {
    return a.kind == b.kind && a.text == b.text;
  }
};

// The items of one line.  kInvalidArgument if one of them is not any of these
// forms, or quotes do not close.  An address with a character that no domain
// has is refused; the reference would take its user part for a local user.
absl::StatusOr<std::vector<ExpansionItem>> ParseExpansionItems(
    absl::string_view line);
// Whether ParseExpansionItems() takes it.
bool IsExpansion(absl::string_view line);

// The items of a ~/.forward.  '#' begins a comment wherever it stands unless a
// backslash is before it; a backslash at its end continues a line; includes are
// ignored.  kInvalidArgument: one of the lines is no list of items.
absl::StatusOr<std::vector<ExpansionItem>> ParseForward(
    absl::string_view contents);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_EXPANSION_ITEMS_H_
