// Keys, snapshots and rates of `smtpctl top`.
#include "ctl/top/top_model.h"

#include "absl/strings/str_cat.h"
#include "ctl/top/top.h"
#include "ctl/top/top_json.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace holdfast {
namespace {

using Kind = TopKey::Kind;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

TopSnapshot At(int second, uint64_t enqueued, int destinations = 0) {
  TopSnapshot s;
  s.started = kNow;
  s.now = kNow + absl::Seconds(second);
  s.counters.enqueued = enqueued;
  for (int i = 0; i < destinations; ++i) {
    TopDestination& d = s.largest.emplace_back();
    d.routing_key = absl::StrCat("d", i);
    d.envelopes = 1000 - i;
  }
  return s;
}

std::string Letters(const std::vector<TopKey>& keys) {
  std::string text;
  for (const TopKey& key : keys)
    text += key.kind == Kind::kCharacter
                ? key.character
                : "UDLRudHE"[static_cast<int>(key.kind) - 1];
  return text;
}

TEST(TopKeysTest, KeysOfTerminals) {
  TopKeyReader reader;
  EXPECT_EQ(Letters(reader.Take("pq")), "pq");
  EXPECT_EQ(Letters(reader.Take("\x1b[A\x1b[B\x1bOC\x1bOD")), "UDRL");
  EXPECT_EQ(Letters(reader.Take("\x1b[5~\x1b[6~\x1b[H\x1b[F\x1b[1~\x1b[4~")),
            "udHEHE");
  // With a modifier, cut anywhere, and what nobody knows.
  EXPECT_EQ(Letters(reader.Take("\x1b[1;5A")), "U");
  for (const char c : std::string("\x1b[")) reader.Take({&c, 1});
  EXPECT_EQ(Letters(reader.Take("Ax")), "Ux");
  EXPECT_EQ(Letters(reader.Take("\x1b[24~\x1bxq")), "q");
  EXPECT_EQ(Letters(reader.Take("\x1b\x1b[A")), "U");
}

TEST(TopKeysTest, ALongSequenceIsNone) {
  TopKeyReader reader;
  EXPECT_EQ(Letters(reader.Take("\x1b[" + std::string(1000, ';'))).find('U'),
            std::string::npos);
  EXPECT_EQ(Letters(reader.Take("q")), "q");
}

TEST(TopModelTest, RatesBetweenSnapshots) {
  TopModel model;
  model.OnSnapshot(At(0, 100));
  EXPECT_EQ(model.view().figures.enqueued, 0);
  TopSnapshot next = At(2, 150);
  next.commit_operations.Add(10);
  next.commit_microseconds.Add(4000);
  model.OnSnapshot(next);
  EXPECT_EQ(model.view().figures.enqueued, 25);
  EXPECT_EQ(model.view().figures.commits, 0.5);
  EXPECT_EQ(model.view().figures.operations_mean, 10);
  EXPECT_EQ(model.view().figures.ms_mean, 4);
  EXPECT_GE(model.view().figures.ms_p99, 4);
  EXPECT_LE(model.view().figures.ms_p99, 5);
}

TEST(TopModelTest, AnotherStartOfTheServer) {
  TopModel model;
  model.OnSnapshot(At(100, 5000));
  TopSnapshot fresh;
  fresh.started = kNow + absl::Seconds(110);
  fresh.now = kNow + absl::Seconds(120);
  fresh.counters.enqueued = 40;
  model.OnSnapshot(fresh);
  EXPECT_EQ(model.view().figures.enqueued, 4);
}

TEST(TopModelTest, AClockThatStandsOrGoesBack) {
  TopModel model;
  model.OnSnapshot(At(10, 5));
  model.OnSnapshot(At(10, 6));
  EXPECT_EQ(model.view().figures.seconds, 0);
  model.OnSnapshot(At(3, 7));
  EXPECT_EQ(model.view().figures.enqueued, 0);
}

TEST(TopModelTest, PausedThePictureStaysAndRatesStayTrue) {
  TopModel model;
  model.OnSnapshot(At(0, 0));
  model.OnSnapshot(At(1, 10));
  EXPECT_TRUE(model.OnKey({Kind::kCharacter, 'p'}, 10));
  model.OnSnapshot(At(2, 1000));
  EXPECT_EQ(model.view().snapshot->counters.enqueued, 10u);
  EXPECT_EQ(model.view().figures.enqueued, 10);
  model.OnKey({Kind::kCharacter, ' '}, 10);
  model.OnSnapshot(At(3, 1007));
  EXPECT_EQ(model.view().figures.enqueued, 7);
}

TEST(TopModelTest, SortKeysGoRound) {
  TopModel model;
  model.OnKey({Kind::kLeft, 0}, 10);
  EXPECT_EQ(model.view().sort, TopColumn::kDestination);
  model.OnKey({Kind::kRight, 0}, 10);
  EXPECT_EQ(model.view().sort, TopColumn::kEnvelopes);
  model.OnKey({Kind::kCharacter, '6'}, 10);
  EXPECT_EQ(model.view().sort, TopColumn::kAge);
  model.OnKey({Kind::kCharacter, '9'}, 10);
  EXPECT_EQ(model.view().sort, TopColumn::kAge);
  model.OnKey({Kind::kCharacter, 'r'}, 10);
  EXPECT_TRUE(model.view().reversed);
  model.OnKey({Kind::kRight, 0}, 10);
  EXPECT_FALSE(model.view().reversed);
}

TEST(TopModelTest, ScrollsWithinWhatThereIs) {
  TopModel model;
  model.OnSnapshot(At(0, 0, 50));
  model.OnKey({Kind::kUp, 0}, 10);
  EXPECT_EQ(model.view().scroll, 0u);
  model.OnKey({Kind::kPageDown, 0}, 10);
  model.OnKey({Kind::kDown, 0}, 10);
  EXPECT_EQ(model.view().scroll, 11u);
  model.OnKey({Kind::kEnd, 0}, 10);
  EXPECT_EQ(model.view().scroll, 49u);
  model.OnSnapshot(At(1, 0, 3));
  EXPECT_EQ(model.view().scroll, 2u);
  model.OnKey({Kind::kHome, 0}, 10);
  EXPECT_EQ(model.view().scroll, 0u);
}

TEST(TopModelTest, Quits) {
  TopModel model;
  EXPECT_TRUE(model.OnKey({Kind::kCharacter, 'x'}, 0));
  EXPECT_FALSE(model.OnKey({Kind::kCharacter, 'q'}, 0));
  EXPECT_FALSE(model.OnKey({Kind::kCharacter, '\x04'}, 0));
}

TEST(TopOptionsTest, Words) {
  EXPECT_TRUE(ParseTopOptions({})->limit == 100);
  const auto all = ParseTopOptions({"--json", "--once", "--limit", "7"});
  ASSERT_TRUE(all.ok());
  EXPECT_TRUE(all->json && all->once && all->limit == 7);
  EXPECT_FALSE(ParseTopOptions({"--limit"}).ok());
  EXPECT_FALSE(ParseTopOptions({"--limit", "201"}).ok());
  EXPECT_FALSE(ParseTopOptions({"--limit", "x"}).ok());
  EXPECT_FALSE(ParseTopOptions({"fast"}).ok());
}

TEST(TopJsonTest, OneObject) {
  TopSnapshot s = At(5, 12, 1);
  s.largest[0].error = "\xff\x1b";
  s.largest[0].next = kNow;
  TopFigures f;
  f.seconds = 1;
  f.ok = 1.0 / 3;
  const std::string line = TopJson(s, f);
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  EXPECT_EQ(line.find('\x1b'), std::string::npos);
  const auto json = nlohmann::json::parse(line);
  EXPECT_EQ(json["started"], "2027-01-15T08:00:00.000Z");
  EXPECT_EQ(json["total"]["enqueued"], 12);
  EXPECT_EQ(json["per_second"]["ok"], 0.333);
  EXPECT_EQ(json["now"]["mta_paused"], false);
  ASSERT_EQ(json["destinations"].size(), 1u);
  EXPECT_EQ(json["destinations"][0]["kind"], "mta");
  EXPECT_EQ(json["destinations"][0]["destination"], "d0");
  EXPECT_EQ(json["destinations"][0]["first_failure"], nullptr);
}

}  // namespace
}  // namespace holdfast
