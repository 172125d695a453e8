#include "ctl/top/top_screen.h"

#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

TopDestination Make(const std::string& key, uint64_t envelopes,
                    uint32_t failures = 0) {
  TopDestination d;
  d.action = "out";
  d.routing_key = key;
  d.envelopes = envelopes;
  d.failures = failures;
  if (failures > 0) {
    d.first_failure = kNow - absl::Hours(failures);
    d.next = kNow + absl::Minutes(5);
    d.error = "Connection refused";
  }
  d.oldest = kNow - absl::Minutes(90);
  return d;
}

TopView MakeView() {
  TopView view;
  TopSnapshot s;
  s.now = kNow;
  s.started = kNow - absl::Hours(50);
  s.gauges.envelopes = 1234567;
  s.gauges.messages = 900000;
  s.gauges.destinations = 3;
  s.gauges.inflight = 42;
  s.gauges.used_bytes = 3ull << 29;
  s.gauges.size_limit = 16ull << 30;
  s.largest = {Make("dead.example", 1000000, 4), Make("b.example", 200, 9),
               Make("a.example", 3)};
  view.snapshot = s;
  view.figures.seconds = 1;
  view.figures.enqueued = 120.5;
  view.figures.commits = 80;
  view.figures.ms_p99 = 9.25;
  return view;
}

std::vector<std::string> TextsOf(const TopView& view, size_t rows = 24,
                                 size_t columns = 200) {
  std::vector<std::string> texts;
  for (const TopLine& line : TopScreen(view, {rows, columns}))
    texts.push_back(line.text);
  return texts;
}

// Destinations in the order in which they stand.
std::vector<std::string> Order(const TopView& view) {
  std::vector<std::string> order;
  const auto lines = TextsOf(view);
  for (size_t i = kTopHeadLines; i + kTopFootLines < lines.size(); ++i)
    for (const absl::string_view word :
         absl::StrSplit(lines[i], ' ', absl::SkipEmpty()))
      if (absl::EndsWith(word, ".example")) order.push_back(std::string(word));
  return order;
}

TEST(TopScreenTest, WhatItSays) {
  const auto lines = TextsOf(MakeView());
  ASSERT_EQ(lines.size(), 24u);
  EXPECT_EQ(lines[0], "smtpd up 2d02h  2027-01-15 08:00:00 UTC");
  EXPECT_EQ(lines[1],
            "queue    1234567 envelopes, 900000 messages, 3 destinations, 42 "
            "in flight");
  EXPECT_EQ(lines[2], "store    1.5G of 16.0G; 0 reports to send, 0 set aside");
  EXPECT_EQ(lines[3], "in       120.5/s accepted, 0.0/s refused");
  EXPECT_THAT(lines[7], HasSubstr("80.0/s"));
  EXPECT_THAT(lines[7], HasSubstr("99%: 9.2"));
  EXPECT_EQ(lines[8],
            "*ENVELOPES  FLIGHT  FAILED  FAILING    NEXT     AGE ACTION   "
            "DESTINATION              ERROR");
  EXPECT_EQ(lines[9],
            "   1000000       0       4    4h00m   5m00s   1h30m out      "
            "dead.example             Connection refused");
  EXPECT_EQ(lines[11],
            "         3       0       0        -     now   1h30m out      "
            "a.example                ");
  EXPECT_THAT(lines[23], HasSubstr("q quit"));
}

TEST(TopScreenTest, StatesStandOut) {
  TopView view = MakeView();
  view.snapshot->gauges.mta_paused = true;
  view.snapshot->gauges.accepting = false;
  view.paused = true;
  EXPECT_THAT(TextsOf(view)[0],
              HasSubstr("  no room for mail, mta paused  (paused)"));
  view.notice = "smtpd is not running";
  const auto lines = TopScreen(view, {24, 80});
  EXPECT_EQ(lines.back().text, "smtpd is not running");
  EXPECT_EQ(lines.back().style, TopLine::Style::kInverse);
}

TEST(TopScreenTest, Sorts) {
  TopView view = MakeView();
  using List = std::vector<std::string>;
  const List by_size = {"dead.example", "b.example", "a.example"};
  EXPECT_EQ(Order(view), by_size);
  view.sort = TopColumn::kFailed;
  EXPECT_EQ(Order(view), List({"b.example", "dead.example", "a.example"}));
  view.sort = TopColumn::kFailing;
  EXPECT_EQ(Order(view), List({"b.example", "dead.example", "a.example"}));
  view.sort = TopColumn::kDestination;
  EXPECT_EQ(Order(view), List({"a.example", "b.example", "dead.example"}));
  view.reversed = true;
  EXPECT_EQ(Order(view), List({"dead.example", "b.example", "a.example"}));
}

TEST(TopScreenTest, ScrollsNoFurtherThanTheEnd) {
  TopView view = MakeView();
  view.snapshot->largest.clear();
  for (int i = 0; i < 40; ++i)
    view.snapshot->largest.push_back(
        Make(absl::StrCat("d", i, ".example"), 1000 - i));
  const size_t room = 24 - kTopHeadLines - kTopFootLines;
  EXPECT_EQ(Order(view).size(), room);
  view.scroll = 5;
  EXPECT_EQ(Order(view).front(), "d5.example");
  view.scroll = 39;
  EXPECT_EQ(Order(view).back(), "d39.example");
  EXPECT_EQ(Order(view).size(), room);
}

TEST(TopScreenTest, FitsEverySize) {
  TopView view = MakeView();
  for (size_t rows = 1; rows < 40; ++rows) {
    for (size_t columns : {1, 2, 7, 40, 79, 80, 81, 500}) {
      const auto lines = TopScreen(view, {rows, columns});
      EXPECT_GE(lines.size(), std::min(rows, kTopHeadLines));
      if (rows > kTopHeadLines) {
        EXPECT_EQ(lines.size(), rows);
      }
      for (const TopLine& line : lines) EXPECT_LE(line.text.size(), columns);
    }
  }
}

TEST(TopScreenTest, BeforeTheFirstSnapshot) {
  TopView view;
  view.notice = "waiting";
  const auto lines = TextsOf(view, 5);
  EXPECT_EQ(lines.size(), 5u);
  EXPECT_EQ(lines.back(), "waiting");
  EXPECT_EQ(TopText(view), "");
}

// Whatever stands in a queue, a terminal gets printable ASCII.
TEST(TopScreenTest, NothingFromOutsideReachesTheTerminalAsItIs) {
  std::mt19937 random(20261123);
  for (int round = 0; round < 200; ++round) {
    const auto text = [&random] {
      std::string t;
      for (size_t n = random() % 60; n > 0; --n)
        t += static_cast<char>(random());
      return t + "\x1b]0;x\a\n\r\x9b";
    };
    TopView view = MakeView();
    TopDestination& d = view.snapshot->largest[0];
    d.action = text();
    d.routing_key = text();
    d.error = text();
    view.notice = text();
    for (const std::string& line : TextsOf(view)) {
      for (const char c : line) ASSERT_TRUE(c >= ' ' && c <= '~') << int{c};
    }
    for (const char c : TopText(view))
      ASSERT_TRUE(c == '\n' || (c >= ' ' && c <= '~'));
  }
}

TEST(TopScreenTest, AsAText) {
  const std::string text = TopText(MakeView());
  EXPECT_THAT(text, HasSubstr("\n         3       0       0        -     now   "
                              "1h30m out      a.example\n"));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("q quit")));
}

TEST(TopScreenTest, Times) {
  EXPECT_EQ(ShortTime(absl::Seconds(-5)), "0s");
  EXPECT_EQ(ShortTime(absl::Seconds(59)), "59s");
  EXPECT_EQ(ShortTime(absl::Seconds(723)), "12m03s");
  EXPECT_EQ(ShortTime(absl::Minutes(185)), "3h05m");
  EXPECT_EQ(ShortTime(absl::Hours(52)), "2d04h");
  EXPECT_EQ(ShortTime(absl::InfiniteDuration()), "-");
}

TEST(TopScreenTest, Bytes) {
  EXPECT_EQ(ShortBytes(1023), "1023");
  EXPECT_EQ(ShortBytes(1024), "1.0k");
  EXPECT_EQ(ShortBytes(5ull << 40), "5.0T");
  EXPECT_EQ(ShortBytes(~0ull), "16.0E");
}

}  // namespace
}  // namespace holdfast
