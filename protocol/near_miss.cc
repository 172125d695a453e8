#include "protocol/near_miss.h"

#include <algorithm>

#include "absl/strings/ascii.h"

namespace holdfast {
namespace {

// Longer names are not compared: the work grows with the square.
constexpr size_t kMaxWordBytes = 64;

char Lower(char c) {
  return absl::ascii_tolower(static_cast<unsigned char>(c));
}

// Insertions, removals, changes and swaps of neighbours.
size_t Distance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1),
      row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = Lower(a[i - 1]) == Lower(b[j - 1]);
      row[j] =
          std::min({row[j - 1] + 1, last[j] + 1, last[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && Lower(a[i - 1]) == Lower(b[j - 2]) &&
          Lower(a[i - 2]) == Lower(b[j - 1])) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

}  // namespace

std::string NearMiss(absl::string_view word,
                     const std::vector<std::string>& candidates) {
  if (word.size() < 2 || word.size() > kMaxWordBytes) return "";
  const size_t most = std::max<size_t>(1, word.size() / 3);
  std::string best;
  size_t best_distance = most + 1;
  for (const std::string& candidate : candidates) {
    if (candidate == word) return "";
    if (candidate.empty() || candidate.size() > word.size() + most ||
        candidate.size() + most < word.size()) {
      continue;
    }
    const size_t distance = Distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace holdfast
