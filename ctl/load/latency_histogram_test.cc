#include "ctl/load/latency_histogram.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

TEST(LatencyHistogramTest, QuantilesAreWithinABucket) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.Quantile(0.5), 0u);
  for (uint64_t i = 1; i <= 1000; ++i) histogram.Add(i * 100);
  EXPECT_NEAR(histogram.Quantile(0.5), 50000, 50000 * 0.07);
  EXPECT_NEAR(histogram.Quantile(0.99), 99000, 99000 * 0.07);
}

TEST(LatencyHistogramTest, SmallValuesAreExactAndHugeOnesFit) {
  LatencyHistogram histogram;
  for (uint64_t i = 0; i < 16; ++i) histogram.Add(i);
  EXPECT_EQ(histogram.Quantile(0), 0u);
  EXPECT_EQ(histogram.Quantile(0.5), 8u);
  histogram.Add(UINT64_MAX);
  EXPECT_GT(histogram.Quantile(0.999), uint64_t{3600} * 1000 * 1000);
}

TEST(LatencyHistogramTest, EveryValueIsBelowItsBucketsEnd) {
  for (uint64_t value = 1; value < uint64_t{1} << 34; value += value / 3 + 1) {
    LatencyHistogram histogram;
    histogram.Add(value);
    EXPECT_GE(histogram.Quantile(0), value);
    EXPECT_LE(histogram.Quantile(0), value + value / 16 + 1);
  }
}

}  // namespace
}  // namespace holdfast
