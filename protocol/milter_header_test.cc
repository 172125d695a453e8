#include "protocol/milter_header.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using Kind = MilterChange::Kind;
using State = MilterHeader::State;

constexpr char kOurs[] =
    "Received: from a (b [192.0.2.1])\n"
    "\tby mx.test (Holdfast) with ESMTP id 0123abcd\n\tfor <j@mx.test>;\n"
    "\tFri, 01 Jan 2021 00:00:00 +0000\n";
constexpr char kTheirs[] =
    "Received: from c by d; yesterday\n"
    "Subject: one\n  and more\nTo: x\nsubject:two\n\n";

struct Shown {
  MilterHeader header{"0123abcd"};
  explicit Shown(absl::string_view text, size_t piece = 1 << 20) {
    while (!text.empty()) {
      absl::string_view part = text.substr(0, piece);
      text.remove_prefix(part.size());
      state = header.Feed(&part);
      absl::StrAppend(&body, part);
    }
  }
  std::string Fields() const {
    std::string all;
    for (const MilterHeader::Field& field : header.fields())
      if (!field.ours)
        absl::StrAppend(&all, "[", field.name, "][", field.value, "]");
    return all;
  }
  bool Change(Kind kind, uint32_t index, const std::string& name,
              const std::string& value, bool leading_space = false) {
    MilterChange change;
    change.kind = kind;
    change.index = index;
    change.name = name;
    change.value = value;
    return header.Apply(change, leading_space);
  }
  State state = State::kMore;
  std::string body;
};

TEST(MilterHeader, ShowsWhatTheClientSent) {
  const std::string text = absl::StrCat("X-Spam: Yes\n", kOurs, kTheirs);
  for (size_t piece : {1, 2, 7, 1000}) {
    Shown shown(absl::StrCat(text, "Body: x\n\n"), piece);
    EXPECT_EQ(shown.state, State::kDone);
    EXPECT_EQ(shown.Fields(),
              "[Received][ from c by d; yesterday]"
              "[Subject][ one\n  and more][To][ x][subject][two]");
    EXPECT_EQ(shown.header.Text(), text);
    EXPECT_EQ(shown.body, "Body: x\n\n");
  }
}

TEST(MilterHeader, AnotherServersFieldsAreTheClients) {
  Shown shown(
      "X-Spam: Yes\nReceived: by x (Holdfast) with SMTP id 99999999\n\n");
  EXPECT_EQ(shown.Fields(),
            "[X-Spam][ Yes][Received][ by x (Holdfast) with SMTP id 99999999]");
}

TEST(MilterHeader, IndicesOfChangesCountWhatWasShown) {
  Shown shown(absl::StrCat(kOurs, kTheirs));
  EXPECT_TRUE(shown.Change(Kind::kChangeHeader, 1, "RECEIVED", "changed"));
  EXPECT_TRUE(shown.Change(Kind::kChangeHeader, 2, "Subject", "three"));
  EXPECT_TRUE(shown.Change(Kind::kChangeHeader, 2, "To", "y"));  // a new one
  EXPECT_EQ(shown.header.Text(),
            absl::StrCat(kOurs,
                         "RECEIVED: changed\nSubject: one\n  and more\n"
                         "To: x\nSubject: three\nTo: y\n\n"));
}

TEST(MilterHeader, ADeletedFieldKeepsItsNumber) {
  // A milter that deletes from the front and one that deletes from the back
  // mean the same fields.
  for (const bool forward : {true, false}) {
    Shown shown("A: 1\nA: 2\nA: 3\nA: 4\n\n");
    EXPECT_TRUE(shown.Change(Kind::kChangeHeader, forward ? 1 : 3, "A", ""));
    EXPECT_TRUE(shown.Change(Kind::kChangeHeader, forward ? 3 : 1, "A", ""));
    EXPECT_EQ(shown.header.Text(), "A: 2\nA: 4\n\n");
    EXPECT_TRUE(shown.Change(Kind::kChangeHeader, 9, "A", ""));
    EXPECT_EQ(shown.header.Text(), "A: 2\nA: 4\n\n");
  }
}

TEST(MilterHeader, InsertCountsAllFields) {
  Shown shown(absl::StrCat(kOurs, "To: x\n\n"));
  EXPECT_TRUE(shown.Change(Kind::kInsertHeader, 0, "Top", "a"));
  EXPECT_TRUE(shown.Change(Kind::kInsertHeader, 2, "Mid", "b"));
  EXPECT_TRUE(shown.Change(Kind::kInsertHeader, 99, "Low", "c"));
  EXPECT_TRUE(shown.Change(Kind::kAddHeader, 0, "Last", "d"));
  EXPECT_EQ(shown.header.Text(), absl::StrCat("Top: a\n", kOurs,
                                              "Mid: b\nTo: x\nLow: c\n"
                                              "Last: d\n\n"));
}

TEST(MilterHeader, LeadingSpaceIsTheMiltersIfAgreed) {
  Shown shown("\n");
  EXPECT_TRUE(shown.Change(Kind::kAddHeader, 0, "A", "x", true));
  EXPECT_TRUE(shown.Change(Kind::kAddHeader, 0, "B", " x", true));
  EXPECT_TRUE(shown.Change(Kind::kAddHeader, 0, "C", " x", false));
  EXPECT_EQ(shown.header.Text(), "A:x\nB: x\nC:  x\n\n");
}

TEST(MilterHeader, AValueStaysOneField) {
  Shown shown("\n");
  EXPECT_TRUE(
      shown.Change(Kind::kAddHeader, 0, "A", "x\r\n y\n\nBcc: z\r\n.\r\n"));
  EXPECT_EQ(shown.header.Text(), "A: x\n y\n\tBcc: z\n\t.\n\n");
}

TEST(MilterHeader, TextWithoutEmptyLine) {
  Shown shown("A: 1\nnot a header\nB: 2\n");
  EXPECT_EQ(shown.state, State::kDone);
  EXPECT_EQ(shown.Fields(), "[A][ 1]");
  EXPECT_EQ(shown.header.first_of_body(), "not a header\n");
  EXPECT_EQ(shown.body, "B: 2\n");
  EXPECT_EQ(shown.header.Text(), "A: 1\nnot a header\n");
  shown.header.ForgetBody();
  EXPECT_EQ(shown.header.Text(), "A: 1\n\n");

  Shown header_only("A: 1\nB: 2");
  EXPECT_EQ(header_only.state, State::kMore);
  EXPECT_EQ(header_only.header.Finish(), State::kDone);
  EXPECT_EQ(header_only.header.Text(), "A: 1\nB: 2\n");
}

TEST(MilterHeader, Bounds) {
  const std::string line(1000, 'x');
  std::string text;
  while (text.size() <= kMaxMilterHeaderBytes)
    absl::StrAppend(&text, "A: ", line, "\n");
  EXPECT_EQ(Shown(text).state, State::kTooLong);
  EXPECT_EQ(Shown(std::string(kMaxMilterHeaderBytes + 1, 'x')).state,
            State::kTooLong);
  EXPECT_EQ(Shown(std::string(kMaxMilterHeaderBytes, 'x')).state, State::kMore);
  // One field more than a packet holds.
  const std::string fits(kMaxMilterFieldBytes - 1, 'x');
  EXPECT_EQ(Shown(absl::StrCat("A:", fits, "\n\n")).state, State::kDone);
  EXPECT_EQ(Shown(absl::StrCat("A:", fits, "x\n\n")).state, State::kTooLong);

  Shown shown("\n");
  for (size_t n = 0; n + 2 * line.size() < kMaxMilterHeaderBytes;
       n += line.size() + 4)
    ASSERT_TRUE(shown.Change(Kind::kAddHeader, 0, "A", line));
  EXPECT_TRUE(shown.Change(Kind::kAddHeader, 0, "A", "short"));
  EXPECT_FALSE(
      shown.Change(Kind::kAddHeader, 0, "A", absl::StrCat(line, line)));
}

TEST(MilterHeader, BoundsOfFields) {
  std::string text;
  for (size_t i = 0; i < kMaxMilterHeaderFields; ++i)
    absl::StrAppend(&text, "A:\n");
  EXPECT_EQ(Shown(absl::StrCat(text, "B:\n\n")).state, State::kTooLong);
  MilterHeader unended("");
  const std::string one_more = absl::StrCat(text, "B:");
  absl::string_view rest = one_more;
  EXPECT_EQ(unended.Feed(&rest), State::kMore);
  EXPECT_EQ(unended.Finish(), State::kTooLong);

  Shown shown(absl::StrCat(text, "\n"));
  EXPECT_EQ(shown.state, State::kDone);
  const Kind kinds[] = {Kind::kAddHeader, Kind::kInsertHeader,
                        Kind::kChangeHeader};
  for (size_t i = 0; i < kMaxMilterHeaderFields; ++i)
    ASSERT_TRUE(shown.Change(kinds[i % 3], 0, absl::StrCat("N", i), "x"));
  for (const Kind kind : {Kind::kAddHeader, Kind::kInsertHeader})
    EXPECT_FALSE(shown.Change(kind, 0, "New", "x"));
  EXPECT_FALSE(shown.Change(Kind::kChangeHeader, 1, "Newer", "x"));
  // Changes of what is there are no more fields.
  EXPECT_TRUE(shown.Change(Kind::kChangeHeader, 1, "A", "x"));
  EXPECT_TRUE(shown.Change(Kind::kChangeHeader, 2, "A", ""));
}

}  // namespace
}  // namespace holdfast
