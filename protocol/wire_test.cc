#include "protocol/wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace holdfast {
namespace {

enum class Colour : uint8_t { kRed, kGreen };

struct Inner {
  int32_t number = 0;
  std::string text;
  template <class A>
  void Fields(A& a) {
    a(number, text);
  }
};

struct Outer {
  uint64_t big = 0;
  int64_t small = 0;
  bool flag = false;
  Colour colour = Colour::kRed;
  absl::Time when;
  absl::Duration span;
  double share = 0;
  std::vector<Inner> list;
  std::optional<std::string> maybe;
  uint32_t added_later = 7;
  template <class A>
  void Fields(A& a) {
    a(big, small, flag, colour, when, span, share, list, maybe);
    if (a.More()) a(added_later);
  }
};

Outer Sample() {
  Outer o;
  o.big = std::numeric_limits<uint64_t>::max();
  o.small = std::numeric_limits<int64_t>::min();
  o.flag = true;
  o.colour = Colour::kGreen;
  o.when = absl::FromUnixSeconds(1795324048);
  o.span = absl::Hours(-4);
  o.share = 0.05;
  o.list = {{-1, "a"}, {2, std::string("\0b", 2)}};
  o.maybe = "x";
  o.added_later = 9;
  return o;
}

TEST(WireTest, GivesBackWhatWasWritten) {
  const Outer in = Sample();
  const absl::StatusOr<Outer> out = Decode<Outer>(Encode(in));
  ASSERT_TRUE(out.ok());
  EXPECT_EQ(out->big, in.big);
  EXPECT_EQ(out->small, in.small);
  EXPECT_TRUE(out->flag);
  EXPECT_EQ(out->colour, Colour::kGreen);
  EXPECT_EQ(out->when, in.when);
  EXPECT_EQ(out->span, in.span);
  EXPECT_EQ(out->share, in.share);
  ASSERT_EQ(out->list.size(), 2u);
  EXPECT_EQ(out->list[0].number, -1);
  EXPECT_EQ(out->list[1].text, std::string("\0b", 2));
  EXPECT_EQ(out->maybe, "x");
  EXPECT_EQ(out->added_later, 9u);
}

TEST(WireTest, EveryCutIsAnErrorOrAnOlderValue) {
  const std::string bytes = Encode(Sample());
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    SCOPED_TRACE(cut);
    const absl::StatusOr<Outer> out =
        Decode<Outer>(absl::string_view(bytes).substr(0, cut));
    // Only the cut just before the last field is an older writer's value.
    EXPECT_EQ(out.ok(), cut == bytes.size() - 1);
    if (out.ok()) {
      EXPECT_EQ(out->added_later, 7u);
    }
  }
}

TEST(WireTest, InfiniteTimesSurvive) {
  Outer o = Sample();
  o.when = absl::InfiniteFuture();
  o.span = absl::InfiniteDuration();
  const absl::StatusOr<Outer> out = Decode<Outer>(Encode(o));
  ASSERT_TRUE(out.ok());
  EXPECT_EQ(out->when, absl::InfiniteFuture());
  EXPECT_EQ(out->span, absl::InfiniteDuration());
}

TEST(WireTest, AListLongerThanItsBytesIsRefused) {
  std::string bytes;
  WireWriter writer(&bytes);
  uint64_t size = 1ull << 40;
  writer(size);
  WireReader reader(bytes);
  std::vector<Inner> list;
  reader(list);
  EXPECT_FALSE(reader.ok());
  EXPECT_TRUE(list.empty());
}

TEST(WireTest, ANumberTooWideForItsFieldIsRefused) {
  std::string bytes;
  WireWriter writer(&bytes);
  uint64_t wide = 1ull << 33;
  writer(wide);
  WireReader reader(bytes);
  uint32_t narrow = 0;
  reader(narrow);
  EXPECT_FALSE(reader.ok());
}

}  // namespace
}  // namespace holdfast
