// The entries of a table: immutable, compact, and found quickly however many
// they are.
#ifndef HOLDFAST_CONFIG_TABLE_CONTENTS_H_
#define HOLDFAST_CONFIG_TABLE_CONTENTS_H_

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace holdfast {

class NetaddrIndex;
class RegexIndex;
class StarIndex;

// How a table compares (reference part 1, section 2.4).
enum class TableService : uint8_t {
  kNone = 0,
  kAlias,
  kDomain,
  kCredentials,
  kNetaddr,
  kUserinfo,
  kSource,
  kMailaddr,
  kMailaddrMap,
  kAddrname,
  kRelayhost,
  kString,
  kRegex,
  kAuth,  // process tables only: whether "user:password" is right
};

// One text holds all keys (in lower case) and values; 12 bytes for each entry
// say where.  Entries are in byte-wise order of their keys; an entry's place in
// it is its rank, and a search finds the match of the lowest rank.
//
// Used on one thread at a time: the indexes of netaddr and regex are built by
// the first question, or by Prepare() before.
class TableContents {
 public:
  enum class Kind : uint8_t { kList, kMap };
  // Key and value (empty in lists); valid as long as the contents.
  using Entry = std::pair<absl::string_view, absl::string_view>;

  // All keys and values together; who reads files keeps below.
  static constexpr size_t kMaxBytes = UINT32_MAX;

  class Builder {
   public:
    explicit Builder(Kind kind = Kind::kList);
    ~Builder();
    void SetKind(Kind kind);
    // An estimate of all keys and values together.
    void Reserve(size_t bytes);
    // The key is lowercased; a later entry of the same key replaces an earlier
    // one, but as regular expressions both are kept as they were written, since
    // lower case would change `\S`.  False: more than kMaxBytes; not added.
    bool Add(absl::string_view key, absl::string_view value);
    // The entry that was added last cannot be what an alias stands for.
    void NoteBadAlias(absl::string_view key, int line);
    // Once.
    std::shared_ptr<const TableContents> Finish();

   private:
    std::shared_ptr<TableContents> made_;
  };

  ~TableContents();
  TableContents(const TableContents&) = delete;
  TableContents& operator=(const TableContents&) = delete;

  Kind kind() const { return kind_; }
  size_t size() const { return slots_.size(); }
  bool empty() const { return slots_.empty(); }
  Entry at(size_t rank) const {
    const Slot& slot = slots_[rank];
    const absl::string_view text(text_);
    return {text.substr(slot.offset, slot.key),
            text.substr(slot.offset + slot.key, slot.value)};
  }
  // Entries whose values cannot be what an alias stands for (reference part 1,
  // section 3.5), the first kMaxBadAliases of them.  `line` is that of the
  // file; 0: it has none.
  static constexpr size_t kMaxBadAliases = 20;
  struct BadAlias {
    std::string key;
    int line = 0;
  };
  const std::vector<BadAlias>& bad_aliases() const { return bad_aliases_; }

  // The entry's key in every way that it was written.
  std::vector<std::string> Spellings(size_t rank) const;

  // The first entry that the service's comparison finds; `key` is in lower
  // case.  `delimiter`: of sub-addresses, for mailaddr.
  std::optional<size_t> Find(TableService service, absl::string_view key,
                             char delimiter) const;
  // The first entry whose key is above; its rank is size() if there is none.
  size_t UpperBound(absl::string_view key) const;
  // Builds what questions to this service need.
  void Prepare(TableService service) const;

  // Bytes held, roughly.
  size_t MemoryUse() const;

 private:
  struct Slot {
    uint32_t offset = 0;  // in text_: the key, and behind it the value
    uint32_t key = 0;     // bytes
    uint32_t value = 0;
  };
  // A key that was not written in lower case.
  struct Spelling {
    uint32_t slot = 0;
    uint32_t offset = 0;  // in text_; as long as the key
  };

  explicit TableContents(Kind kind);

  void Sort();
  std::optional<size_t> FindExact(absl::string_view key) const;
  std::optional<size_t> FindDomain(absl::string_view key) const;
  std::optional<size_t> FindNetaddr(absl::string_view key) const;
  std::optional<size_t> FindMailaddr(absl::string_view key,
                                     char delimiter) const;
  const NetaddrIndex& Netaddrs() const;
  const RegexIndex& Regexes() const;

  Kind kind_;
  std::string text_;
  std::vector<Slot> slots_;
  std::vector<Spelling> spellings_;  // in the order of slots
  std::vector<BadAlias> bad_aliases_;
  std::unique_ptr<StarIndex> stars_;
  mutable std::unique_ptr<const NetaddrIndex> netaddrs_;
  mutable std::unique_ptr<const RegexIndex> regexes_;
};

// All entries of some contents, in order, for range loops.
class TableEntries {
 public:
  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = TableContents::Entry;
    using difference_type = std::ptrdiff_t;
    using pointer = const value_type*;
    using reference = value_type;

    Iterator() = default;
    Iterator(const TableContents* of, size_t rank) : of_(of), rank_(rank) {}
    value_type operator*() const { return of_->at(rank_); }
    Iterator& operator++() {
      ++rank_;
      return *this;
    }
    Iterator operator++(int) {
      Iterator old = *this;
      ++rank_;
      return old;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) {
      return a.rank_ == b.rank_;
    }

   private:
    const TableContents* of_ = nullptr;
    size_t rank_ = 0;
  };
  using value_type = TableContents::Entry;
  using const_iterator = Iterator;
  using iterator = Iterator;

  explicit TableEntries(std::shared_ptr<const TableContents> contents)
      : contents_(std::move(contents)) {}
  Iterator begin() const { return {contents_.get(), 0}; }
  Iterator end() const { return {contents_.get(), contents_->size()}; }
  size_t size() const { return contents_->size(); }
  bool empty() const { return contents_->empty(); }

 private:
  std::shared_ptr<const TableContents> contents_;
};

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_TABLE_CONTENTS_H_
