// What makes searches by pattern quick; used by TableContents only.  Ranks are
// those of its entries.
#ifndef HOLDFAST_CONFIG_TABLE_INDEX_H_
#define HOLDFAST_CONFIG_TABLE_INDEX_H_

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "config/table_contents.h"

namespace re2 {
class RE2;
}  // namespace re2

namespace holdfast {

// The smaller of two ranks, either of which may be missing.
void KeepLower(std::optional<size_t> candidate, std::optional<size_t>* best);

// Domain patterns with stars.  A pattern that is one star and then a text T
// without stars matches a domain only where T is what begins with the domain's
// first T[0], so that the pattern can be looked up: for "a.example.org" that is
// "*.example.org".  All others are compared one after the other.
class StarIndex {
 public:
  struct Patterns {
    std::bitset<256> leads;         // the T[0]
    std::vector<uint32_t> compare;  // ranks of the others, rising

    // The patterns of the first kind that can match, "*" and then T.
    std::vector<std::string> FormsFor(absl::string_view domain) const;
  };

  explicit StarIndex(const TableContents& contents);

  const Patterns& domains() const { return domains_; }
  // Of the part behind the last '@'.
  const Patterns& mailaddrs() const { return mailaddrs_; }

 private:
  Patterns domains_;
  Patterns mailaddrs_;
};

// Networks by the length of their prefix.
class NetaddrIndex {
 public:
  explicit NetaddrIndex(const TableContents& contents);
  std::optional<size_t> Find(absl::string_view address) const;
  size_t MemoryUse() const;

 private:
  using Address6 = std::array<uint8_t, 16>;
  struct Prefix4 {
    uint32_t address = 0;
    uint32_t rank = 0;
    auto operator<=>(const Prefix4&) const = default;
  };
  struct Prefix6 {
    Address6 address{};
    uint32_t rank = 0;
    auto operator<=>(const Prefix6&) const = default;
  };
  // By bits; sorted.
  std::map<int, std::vector<Prefix4>> inet4_;
  std::map<int, std::vector<Prefix6>> inet6_;
};

// All patterns of a table in one pass over the text.
class RegexIndex {
 public:
  explicit RegexIndex(const TableContents& contents);
  ~RegexIndex();
  std::optional<size_t> Find(absl::string_view text) const;

 private:
  struct Set;
  std::unique_ptr<Set> set_;     // null: too large to be compiled as one
  std::vector<uint32_t> ranks_;  // of the patterns that can be compiled
  // The same patterns one by one: without a set, or where it fails for want of
  // memory.
  std::vector<std::string> patterns_;
  mutable std::vector<std::unique_ptr<const re2::RE2>> compiled_;
};

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_TABLE_INDEX_H_
