#include "config/table_contents.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "config/table_index.h"
#include "config/table_match.h"

namespace holdfast {
namespace {

// The first eight bytes of a key as a number that sorts as they do.
uint64_t Head(absl::string_view key) {
  uint64_t head = 0;
  for (size_t i = 0; i < 8; ++i) {
    head =
        head << 8 | (i < key.size() ? static_cast<unsigned char>(key[i]) : 0);
  }
  return head;
}

}  // namespace

TableContents::TableContents(Kind kind) : kind_(kind) {}
TableContents::~TableContents() = default;

// ---- building

TableContents::Builder::Builder(Kind kind) : made_(new TableContents(kind)) {}
TableContents::Builder::~Builder() = default;

void TableContents::Builder::SetKind(Kind kind) { made_->kind_ = kind; }

void TableContents::Builder::Reserve(size_t bytes) {
  made_->text_.reserve(bytes);
}

bool TableContents::Builder::Add(absl::string_view key,
                                 absl::string_view value) {
  std::string& text = made_->text_;
  const size_t need = 2 * key.size() + value.size();
  if (need > kMaxBytes || text.size() > kMaxBytes - need ||
      made_->slots_.size() == UINT32_MAX) {
    return false;
  }
  Slot slot;
  slot.offset = static_cast<uint32_t>(text.size());
  slot.key = static_cast<uint32_t>(key.size());
  slot.value = static_cast<uint32_t>(value.size());
  bool is_lower = true;
  for (const char c : key) {
    const char lower = absl::ascii_tolower(static_cast<unsigned char>(c));
    is_lower = is_lower && lower == c;
    text.push_back(lower);
  }
  text.append(value.data(), value.size());
  if (!is_lower) {
    made_->spellings_.push_back({static_cast<uint32_t>(made_->slots_.size()),
                                 static_cast<uint32_t>(text.size())});
    text.append(key.data(), key.size());
  }
  made_->slots_.push_back(slot);
  return true;
}

void TableContents::Builder::NoteBadAlias(absl::string_view key, int line) {
  if (made_->bad_aliases_.size() < kMaxBadAliases) {
    made_->bad_aliases_.push_back({std::string(key), line});
  }
}

std::shared_ptr<const TableContents> TableContents::Builder::Finish() {
  made_->Sort();
  made_->text_.shrink_to_fit();
  made_->slots_.shrink_to_fit();
  made_->spellings_.shrink_to_fit();
  made_->stars_ = std::make_unique<StarIndex>(*made_);
  return std::move(made_);
}

// Into the order of keys, one slot for each; spellings follow their slots.
void TableContents::Sort() {
  struct Place {
    uint64_t head = 0;
    uint32_t slot = 0;
  };
  std::vector<Place> order(slots_.size());
  for (size_t i = 0; i < slots_.size(); ++i) {
    order[i] = {Head(at(i).first), static_cast<uint32_t>(i)};
  }
  std::sort(order.begin(), order.end(), [this](const Place& a, const Place& b) {
    if (a.head != b.head) return a.head < b.head;
    const int keys = at(a.slot).first.compare(at(b.slot).first);
    return keys != 0 ? keys < 0 : a.slot < b.slot;
  });
  std::vector<Slot> sorted;
  sorted.reserve(order.size());
  std::vector<Spelling> spellings;
  size_t group = 0;  // in `order`: the first of the same key
  auto spelled = [this](uint32_t slot) -> const Spelling* {
    auto it = std::lower_bound(
        spellings_.begin(), spellings_.end(), slot,
        [](const Spelling& s, uint32_t wanted) { return s.slot < wanted; });
    return it != spellings_.end() && it->slot == slot ? &*it : nullptr;
  };
  while (group < order.size()) {
    size_t end = group + 1;
    while (end < order.size() && order[end].head == order[group].head &&
           at(order[end].slot).first == at(order[group].slot).first) {
      ++end;
    }
    bool any = false;
    for (size_t i = group; i < end && !spellings_.empty(); ++i) {
      any = any || spelled(order[i].slot) != nullptr;
    }
    for (size_t i = group; i < end && any; ++i) {
      const Spelling* other = spelled(order[i].slot);
      spellings.push_back(
          {static_cast<uint32_t>(sorted.size()),
           other != nullptr ? other->offset : slots_[order[i].slot].offset});
    }
    sorted.push_back(slots_[order[end - 1].slot]);  // the last one holds
    group = end;
  }
  slots_ = std::move(sorted);
  spellings_ = std::move(spellings);
}

std::vector<std::string> TableContents::Spellings(size_t rank) const {
  const size_t length = slots_[rank].key;
  auto it = std::lower_bound(
      spellings_.begin(), spellings_.end(), rank,
      [](const Spelling& s, size_t wanted) { return s.slot < wanted; });
  std::set<std::string> all;
  for (; it != spellings_.end() && it->slot == rank; ++it) {
    all.insert(text_.substr(it->offset, length));
  }
  if (all.empty()) return {std::string(at(rank).first)};
  return {all.begin(), all.end()};
}

// ---- searching

size_t TableContents::UpperBound(absl::string_view key) const {
  size_t low = 0;
  size_t high = slots_.size();
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (at(middle).first <= key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

std::optional<size_t> TableContents::FindExact(absl::string_view key) const {
  const size_t above = UpperBound(key);
  if (above == 0 || at(above - 1).first != key) return std::nullopt;
  return above - 1;
}

std::optional<size_t> TableContents::FindDomain(absl::string_view key) const {
  std::optional<size_t> best = FindExact(key);
  const StarIndex::Patterns& patterns = stars_->domains();
  for (const std::string& form : patterns.FormsFor(key)) {
    KeepLower(FindExact(form), &best);
  }
  for (const uint32_t rank : patterns.compare) {
    if (best && *best <= rank) break;
    if (DomainMatches(at(rank).first, key)) return rank;
  }
  return best;
}

std::optional<size_t> TableContents::FindNetaddr(absl::string_view key) const {
  std::optional<size_t> best = FindExact(key);
  KeepLower(Netaddrs().Find(key), &best);
  return best;
}

// The keys that MailaddrMatches() can find for this address are few; only
// patterns with several stars have to be compared.
std::optional<size_t> TableContents::FindMailaddr(absl::string_view key,
                                                  char delimiter) const {
  const size_t at_sign = key.rfind('@');
  const absl::string_view user = key.substr(0, at_sign);
  const absl::string_view domain = at_sign == absl::string_view::npos
                                       ? absl::string_view()
                                       : key.substr(at_sign + 1);
  const StarIndex::Patterns& patterns = stars_->mailaddrs();
  // As they stand behind an entry's user.
  std::vector<std::string> domains = {"@"};
  if (!domain.empty()) {
    domains.push_back(absl::StrCat("@", std::string(domain)));
    for (const std::string& form : patterns.FormsFor(domain)) {
      domains.push_back(absl::StrCat("@", form));
    }
  }
  std::vector<std::string> users = {""};
  const std::string bare(user.substr(0, user.find(delimiter)));
  if (!bare.empty()) users.push_back(bare);
  if (bare.size() != user.size()) users.emplace_back(user);

  std::optional<size_t> best;
  for (const std::string& one : users) {
    if (!one.empty() && one.find('@') == std::string::npos) {
      KeepLower(FindExact(one), &best);
    }
    for (const std::string& where : domains) {
      KeepLower(FindExact(one + where), &best);
    }
  }
  for (const uint32_t rank : patterns.compare) {
    if (best && *best <= rank) break;
    if (MailaddrMatches(at(rank).first, key, delimiter)) return rank;
  }
  return best;
}

std::optional<size_t> TableContents::Find(TableService service,
                                          absl::string_view key,
                                          char delimiter) const {
  switch (service) {
    case TableService::kDomain:
      return FindDomain(key);
    case TableService::kRegex:
      return Regexes().Find(key);
    case TableService::kNetaddr:
      return FindNetaddr(key);
    case TableService::kMailaddr:
      return FindMailaddr(key, delimiter);
    default:
      return FindExact(key);
  }
}

const NetaddrIndex& TableContents::Netaddrs() const {
  if (netaddrs_ == nullptr) {
    netaddrs_ = std::make_unique<const NetaddrIndex>(*this);
  }
  return *netaddrs_;
}

const RegexIndex& TableContents::Regexes() const {
  if (regexes_ == nullptr) {
    regexes_ = std::make_unique<const RegexIndex>(*this);
  }
  return *regexes_;
}

void TableContents::Prepare(TableService service) const {
  if (service == TableService::kNetaddr) Netaddrs();
  if (service == TableService::kRegex) Regexes();
}

size_t TableContents::MemoryUse() const {
  return sizeof *this + text_.capacity() + slots_.capacity() * sizeof(Slot) +
         spellings_.capacity() * sizeof(Spelling) +
         (netaddrs_ != nullptr ? netaddrs_->MemoryUse() : 0);
}

}  // namespace holdfast
