#include "server/queue/retry_times.h"

#include <algorithm>
#include <cmath>

namespace holdfast {

absl::Time QuadraticTime(absl::Time start, absl::Duration base,
                         uint32_t failures, absl::Time now) {
  // Far above any life of an envelope, and its square times any base still
  // fits 63 bits.
  constexpr int64_t kMaxK = 1000000;
  const int64_t c = absl::ToUnixSeconds(start);
  const int64_t b = absl::ToInt64Seconds(base);
  const int64_t t = absl::ToUnixSeconds(now);
  int64_t k = std::min<int64_t>(failures, kMaxK);
  if (c + b * k * k <= t) {
    k = static_cast<int64_t>(std::sqrt(static_cast<double>((t - c) / b)));
    k = std::clamp<int64_t>(k - 1, failures, kMaxK);
    while (k < kMaxK && c + b * k * k <= t) ++k;
  }
  return absl::FromUnixSeconds(c + b * k * k);
}

}  // namespace holdfast
