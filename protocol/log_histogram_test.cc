#include "protocol/log_histogram.h"

#include "gtest/gtest.h"
#include "protocol/wire.h"

namespace holdfast {
namespace {

TEST(LogHistogramTest, BucketsFollowOneAnotherWithoutAGap) {
  for (size_t b = 0; b < LogHistogram::kBuckets; ++b) {
    const uint64_t largest = LogHistogram::LargestOf(b);
    EXPECT_EQ(LogHistogram::BucketOf(largest), b);
    if (b + 1 < LogHistogram::kBuckets) {
      EXPECT_EQ(LogHistogram::BucketOf(largest + 1), b + 1);
    }
  }
  EXPECT_EQ(LogHistogram::BucketOf(~uint64_t{0}), LogHistogram::kBuckets - 1);
}

TEST(LogHistogramTest, PercentilesAreUpperBoundsWithinAQuarter) {
  LogHistogram h;
  EXPECT_EQ(h.Permille(990), 0u);
  for (uint64_t v = 1; v <= 1000; ++v) h.Add(v);
  EXPECT_EQ(h.count(), 1000u);
  EXPECT_EQ(h.sum(), 500500u);
  EXPECT_GE(h.Permille(500), 500u);
  EXPECT_LE(h.Permille(500), 625u);
  EXPECT_GE(h.Permille(990), 990u);
  EXPECT_LE(h.Permille(990), 1238u);
}

TEST(LogHistogramTest, ZeroIsAValue) {
  LogHistogram h;
  h.Add(0);
  h.Add(0);
  h.Add(3);
  EXPECT_EQ(h.Permille(500), 0u);
  EXPECT_EQ(h.Permille(990), 3u);
}

TEST(LogHistogramTest, WhatCameSince) {
  LogHistogram before;
  before.Add(5);
  LogHistogram after = before;
  after.Add(5);
  after.Add(1000);
  EXPECT_EQ(after.Since(before).count(), 2u);
  EXPECT_EQ(after.Since(before).sum(), 1005u);
  // Another start of the server: nothing can be taken off.
  EXPECT_EQ(before.Since(after).count(), 1u);
}

TEST(LogHistogramTest, GoesOverTheWire) {
  LogHistogram h;
  for (const uint64_t v : {1, 7, 7, 123456}) h.Add(v);
  const auto back = Decode<LogHistogram>(Encode(h));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->count(), 4u);
  EXPECT_EQ(back->sum(), 123471u);
  EXPECT_EQ(back->Permille(1000), h.Permille(1000));
}

}  // namespace
}  // namespace holdfast
