// Counts of values in buckets that grow with the value: four to a power of two,
// so that a percentile is known to a quarter of it or better.  Pure.
#ifndef HOLDFAST_PROTOCOL_LOG_HISTOGRAM_H_
#define HOLDFAST_PROTOCOL_LOG_HISTOGRAM_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/numeric/bits.h"

namespace holdfast {

class LogHistogram {
 public:
  // Values at or above 2^32 fall into the last bucket.
  static constexpr size_t kBuckets = 124;

  static size_t BucketOf(uint64_t value) {
    if (value < 4) return static_cast<size_t>(value);
    const int octave = absl::bit_width(value) - 1;
    if (octave >= 32) return kBuckets - 1;
    return static_cast<size_t>(octave - 1) * 4 +
           static_cast<size_t>(value >> (octave - 2) & 3);
  }
  // The largest value of a bucket.
  static uint64_t LargestOf(size_t bucket) {
    if (bucket < 4) return bucket;
    const int octave = static_cast<int>(bucket / 4) + 1;
    return ((4 + bucket % 4 + 1) << (octave - 2)) - 1;
  }

  void Add(uint64_t value) {
    const size_t bucket = BucketOf(value);
    if (counts_.size() <= bucket) counts_.resize(bucket + 1);
    ++counts_[bucket];
    sum_ += value;
  }

  // What came since `earlier`, which is an earlier state of this; or all, if it
  // can't be one.
  LogHistogram Since(const LogHistogram& earlier) const {
    if (earlier.counts_.size() > counts_.size() || earlier.sum_ > sum_)
      return *this;
    LogHistogram rest = *this;
    for (size_t i = 0; i < earlier.counts_.size(); ++i) {
      if (earlier.counts_[i] > counts_[i]) return *this;
      rest.counts_[i] -= earlier.counts_[i];
    }
    rest.sum_ -= earlier.sum_;
    return rest;
  }

  uint64_t count() const {
    uint64_t n = 0;
    for (const uint64_t c : counts_) n += c;
    return n;
  }
  uint64_t sum() const { return sum_; }
  // At most this for so many of a thousand; 0: there are none.
  uint64_t Permille(uint64_t permille) const {
    const uint64_t all = count();
    uint64_t seen = 0;
    for (size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen > 0 && seen >= (all * permille + 999) / 1000)
        return LargestOf(i);
    }
    return 0;
  }

  template <class A>
  void Fields(A& a) {
    a(sum_, counts_);
  }

 private:
  uint64_t sum_ = 0;
  std::vector<uint64_t> counts_;  // as far as the last that is not 0
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_LOG_HISTOGRAM_H_
