#include "config/table_index.h"

#include <re2/re2.h>
#include <re2/set.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "config/network.h"
#include "config/regex_check.h"

namespace holdfast {
namespace {

// What all patterns of a table may use together; beyond that they are tried one
// by one.
constexpr int64_t kMaxSetMemory = 64 << 20;

re2::StringPiece Piece(absl::string_view text) {
  return {text.data(), text.size()};
}

uint32_t Number(const std::array<uint8_t, 16>& address) {
  return uint32_t{address[0]} << 24 | uint32_t{address[1]} << 16 |
         uint32_t{address[2]} << 8 | address[3];
}

// The lowest rank of the prefix, if it is there.
template <class Prefix>
std::optional<size_t> FindPrefix(const std::vector<Prefix>& prefixes,
                                 const Prefix& wanted) {
  const auto it = std::lower_bound(prefixes.begin(), prefixes.end(), wanted);
  if (it == prefixes.end() || it->address != wanted.address) {
    return std::nullopt;
  }
  return it->rank;
}

}  // namespace

void KeepLower(std::optional<size_t> candidate, std::optional<size_t>* best) {
  if (candidate && (!*best || *candidate < **best)) *best = candidate;
}

// ---- stars

StarIndex::StarIndex(const TableContents& contents) {
  const auto note = [](absl::string_view pattern, size_t rank,
                       Patterns* patterns) {
    if (pattern.find('*') == absl::string_view::npos) return;
    if (pattern.size() > 1 && pattern.rfind('*') == 0) {
      patterns->leads.set(static_cast<unsigned char>(pattern[1]));
    } else {
      patterns->compare.push_back(static_cast<uint32_t>(rank));
    }
  };
  for (size_t rank = 0; rank < contents.size(); ++rank) {
    const absl::string_view key = contents.at(rank).first;
    note(key, rank, &domains_);
    const size_t at = key.rfind('@');
    if (at != absl::string_view::npos) {
      note(key.substr(at + 1), rank, &mailaddrs_);
    }
  }
}

std::vector<std::string> StarIndex::Patterns::FormsFor(
    absl::string_view domain) const {
  std::vector<std::string> forms;
  if (leads.none()) return forms;
  std::bitset<256> seen;
  for (size_t i = 0; i < domain.size(); ++i) {
    const auto c = static_cast<unsigned char>(domain[i]);
    if (seen.test(c)) continue;
    seen.set(c);
    if (leads.test(c)) {
      forms.push_back(absl::StrCat("*", std::string(domain.substr(i))));
    }
  }
  return forms;
}

// ---- networks

NetaddrIndex::NetaddrIndex(const TableContents& contents) {
  for (size_t i = 0; i < contents.size(); ++i) {
    const std::optional<Network> network = ParseNetwork(contents.at(i).first);
    if (!network) continue;
    const auto rank = static_cast<uint32_t>(i);
    const Address6 first = FirstBits(network->address, network->bits);
    if (network->bytes == 4) {
      inet4_[network->bits].push_back({Number(first), rank});
    } else {
      inet6_[network->bits].push_back({first, rank});
    }
  }
  for (auto& [bits, prefixes] : inet4_) {
    std::sort(prefixes.begin(), prefixes.end());
    prefixes.shrink_to_fit();
  }
  for (auto& [bits, prefixes] : inet6_) {
    std::sort(prefixes.begin(), prefixes.end());
    prefixes.shrink_to_fit();
  }
}

std::optional<size_t> NetaddrIndex::Find(absl::string_view address) const {
  const std::optional<Network> host = ParseNetwork(address);
  if (!host || !host->IsHost()) return std::nullopt;
  std::optional<size_t> best;
  if (host->bytes == 4) {
    for (const auto& [bits, prefixes] : inet4_) {
      const Prefix4 wanted{Number(FirstBits(host->address, bits)), 0};
      KeepLower(FindPrefix(prefixes, wanted), &best);
    }
    return best;
  }
  for (const auto& [bits, prefixes] : inet6_) {
    const Prefix6 wanted{FirstBits(host->address, bits), 0};
    KeepLower(FindPrefix(prefixes, wanted), &best);
  }
  return best;
}

size_t NetaddrIndex::MemoryUse() const {
  size_t bytes = sizeof *this;
  for (const auto& [bits, all] : inet4_) {
    bytes += all.capacity() * sizeof(Prefix4);
  }
  for (const auto& [bits, all] : inet6_) {
    bytes += all.capacity() * sizeof(Prefix6);
  }
  return bytes;
}

// ---- regular expressions

struct RegexIndex::Set {
  Set() : set(RegexOptions(kMaxSetMemory), re2::RE2::UNANCHORED) {}
  re2::RE2::Set set;
};

RegexIndex::RegexIndex(const TableContents& contents)
    : set_(std::make_unique<Set>()) {
  for (size_t rank = 0; rank < contents.size(); ++rank) {
    for (std::string& pattern : contents.Spellings(rank)) {
      const re2::RE2 alone(pattern, RegexOptions(kMaxPatternMemory));
      if (!alone.ok() || set_->set.Add(pattern, nullptr) < 0) continue;
      ranks_.push_back(static_cast<uint32_t>(rank));
      patterns_.push_back(std::move(pattern));
    }
  }
  compiled_.resize(patterns_.size());
  if (!set_->set.Compile()) set_.reset();
}

RegexIndex::~RegexIndex() = default;

std::optional<size_t> RegexIndex::Find(absl::string_view text) const {
  if (patterns_.empty()) return std::nullopt;
  if (set_ != nullptr) {
    std::vector<int> found;
    re2::RE2::Set::ErrorInfo error{re2::RE2::Set::kNoError};
    if (set_->set.Match(Piece(text), &found, &error)) {
      return ranks_[*std::min_element(found.begin(), found.end())];
    }
    if (error.kind == re2::RE2::Set::kNoError) return std::nullopt;
  }
  for (size_t i = 0; i < patterns_.size(); ++i) {
    if (compiled_[i] == nullptr) {
      compiled_[i] = std::make_unique<const re2::RE2>(
          patterns_[i], RegexOptions(kMaxPatternMemory));
    }
    if (re2::RE2::PartialMatch(Piece(text), *compiled_[i])) return ranks_[i];
  }
  return std::nullopt;
}

}  // namespace holdfast
