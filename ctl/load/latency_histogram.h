// Durations in buckets of about 6 %, from a microsecond to hours, in fixed
// memory.
#ifndef HOLDFAST_CTL_LOAD_LATENCY_HISTOGRAM_H_
#define HOLDFAST_CTL_LOAD_LATENCY_HISTOGRAM_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace holdfast {

class LatencyHistogram {
 public:
  void Add(uint64_t microseconds) {
    ++buckets_[Bucket(microseconds)];
    ++count_;
  }

  // The upper end of the bucket in which the share `quantile` (0 to 1) lies;
  // 0 when empty.
  uint64_t Quantile(double quantile) const {
    uint64_t left = static_cast<uint64_t>(quantile * count_);
    for (size_t i = 0; i < buckets_.size(); ++i) {
      if (buckets_[i] > left) return UpperEnd(i);
      left -= buckets_[i];
    }
    return count_ == 0 ? 0 : UpperEnd(buckets_.size() - 1);
  }

 private:
  static constexpr int kSteps = 16;  // per power of two

  static size_t Bucket(uint64_t value) {
    if (value < kSteps) return value;
    const int shift = std::bit_width(value) - 5;
    const size_t bucket = kSteps * (shift + 1) + ((value >> shift) - kSteps);
    return bucket < kBuckets ? bucket : kBuckets - 1;
  }
  static uint64_t UpperEnd(size_t bucket) {
    if (bucket < kSteps) return bucket;
    const int shift = static_cast<int>(bucket / kSteps) - 1;
    return ((kSteps + bucket % kSteps + 1) << shift) - 1;
  }

  static constexpr size_t kBuckets = 34 * kSteps;
  std::array<uint64_t, kBuckets> buckets_{};
  uint64_t count_ = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_LOAD_LATENCY_HISTOGRAM_H_
