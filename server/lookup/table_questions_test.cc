#include "server/lookup/table_questions.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "config/parser.h"

namespace holdfast {
namespace {

using Op = TableQuestion::Op;
using Service = TableService;

class TableQuestionsTest : public ::testing::Test {
 protected:
  TableQuestionsTest() {
    ParseOptions options;
    options.path = "c.conf";
    const ParseResult parsed = ParseConfig(
        options,
        [](const std::string&) {
          return absl::StatusOr<std::string>(
              "table hosts p\ntable domains p\ntable sources p\ntable names p\n"
              "table secrets p\ntable users p\ntable bad p\n"
              "table here { x = y }\ntable passwords p\n"
              "table file db:/bad.db\ntable regexes p\n"
              "filter f phase connect match src <bad> disconnect \"550 no\"\n"
              "filter g phase data match !auth <passwords> reject \"550 no\"\n"
              "filter h phase data match mail-from <file> reject \"550 no\"\n"
              "filter i phase data match auth <here> reject \"550 no\"\n"
              "filter j phase data match auth regex <regexes> junk\n"
              "action a relay host <hosts> auth <secrets> src <sources>"
              " helo-src <names>\n"
              "action b relay domain <domains>\n"
              "action c mbox userbase <users> alias <here>\n"
              "match for any action a\n");
        },
        [](const Table&) {
          TableContents::Builder builder;
          builder.Add("@bad.test", "");
          return builder.Finish();
        });
    for (const std::string& line : parsed.messages) ADD_FAILURE() << line;
    config_ = parsed.config;
  }

  bool May(Room room, const std::string& table, Op op, Service service) {
    TableQuestion question;
    question.table = table;
    question.op = op;
    question.service = service;
    question.key = "Key";
    const auto query = QueryOf(room, *config_, question);
    if (!query.ok()) return false;
    EXPECT_EQ(query->table, table);
    EXPECT_EQ(query->service, service);
    EXPECT_EQ(query->key, "key");
    return true;
  }

  std::shared_ptr<const Config> config_;
};

TEST_F(TableQuestionsTest, EachRoomItsOwn) {
  struct {
    Room room;
    const char* table;
    Op op;
    Service service;
  } const allowed[] = {
      {Room::kQueue, "hosts", Op::kFetch, Service::kRelayhost},
      {Room::kQueue, "domains", Op::kLookup, Service::kRelayhost},
      {Room::kRelay, "sources", Op::kFetch, Service::kSource},
      {Room::kRelay, "names", Op::kLookup, Service::kAddrname},
      {Room::kFilters, "bad", Op::kCheck, Service::kNetaddr},
      {Room::kFilters, "file", Op::kCheck, Service::kMailaddr},
      {Room::kFilters, "regexes", Op::kCheck, Service::kRegex},
      {Room::kFilters, "passwords", Op::kCheck, Service::kString},
      {Room::kFilters, "passwords", Op::kCheck, Service::kCredentials},
      {Room::kParent, "users", Op::kLookup, Service::kUserinfo},
  };
  int passed = 0;
  for (const Room room : {Room::kQueue, Room::kRelay, Room::kFilters,
                          Room::kParent, Room::kReceive, Room::kDeliver}) {
    for (const auto& a : allowed) {
      const bool may = May(room, a.table, a.op, a.service);
      EXPECT_EQ(may, room == a.room) << a.table;
      passed += may;
    }
  }
  EXPECT_EQ(passed, 10);
}

// Whether it matches, as the filter that has the table compares.
TEST_F(TableQuestionsTest, FiltersOnlyCheckAndOnlyThat) {
  for (const Op op : {Op::kLookup, Op::kFetch}) {
    EXPECT_FALSE(May(Room::kFilters, "passwords", op, Service::kCredentials));
    EXPECT_FALSE(May(Room::kFilters, "passwords", op, Service::kString));
    EXPECT_FALSE(May(Room::kFilters, "bad", op, Service::kNetaddr));
    EXPECT_FALSE(May(Room::kFilters, "file", op, Service::kMailaddr));
  }
  for (const auto& [table, service] : {std::pair("bad", Service::kString),
                                       {"bad", Service::kRegex},
                                       {"file", Service::kString},
                                       {"file", Service::kCredentials},
                                       {"passwords", Service::kAuth},
                                       {"passwords", Service::kRegex},
                                       {"regexes", Service::kCredentials},
                                       {"regexes", Service::kString},
                                       // It has that itself.
                                       {"here", Service::kString},
                                       {"secrets", Service::kCredentials}}) {
    EXPECT_FALSE(May(Room::kFilters, table, Op::kCheck, service)) << table;
  }
}

TEST_F(TableQuestionsTest, OthersSendNoSuchThing) {
  for (const Room room :
       {Room::kQueue, Room::kRelay, Room::kFilters, Room::kParent})
    EXPECT_TRUE(MayAskTables(room));
  for (const Room room : {Room::kReceive, Room::kDeliver, Room::kKeys})
    EXPECT_FALSE(MayAskTables(room));
}

TEST_F(TableQuestionsTest, ATableInAFileIsAskedHere) {
  TableQuery query;
  query.table = "file";
  query.service = Service::kMailaddr;
  query.key = "x@bad.test";
  EXPECT_EQ(CheckHere(*config_, query).value(), "");
  query.key = "x@good.test";
  EXPECT_EQ(CheckHere(*config_, query).value(), std::nullopt);
}

TEST_F(TableQuestionsTest, RefusalsDoNotFillTheLog) {
  RefusalLog log;
  TableQuestion question;
  question.table = "a\nb";
  const auto lines = [&](absl::Duration now, int times) {
    testing::internal::CaptureStderr();
    for (int i = 0; i < times; ++i)
      log.Warn(now, Room::kRelay, question, absl::PermissionDeniedError("no"));
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_EQ(lines(absl::Seconds(1), 1),
            "warn: lookup: relay may not ask table \"a\\nb\": no\n");
  const std::string rest = lines(absl::Seconds(2), 1000);
  EXPECT_EQ(std::count(rest.begin(), rest.end(), '\n'), kMaxRefusalLines - 1);
  EXPECT_EQ(lines(absl::Seconds(62), 1),
            "warn: lookup: 981 more questions about tables were refused\n"
            "warn: lookup: relay may not ask table \"a\\nb\": no\n");
}

TEST_F(TableQuestionsTest, NobodyAsksForPasswords) {
  for (const Room room :
       {Room::kQueue, Room::kRelay, Room::kFilters, Room::kParent}) {
    for (const char* table : {"secrets", "hosts", "users", "bad", "here"}) {
      for (const Op op : {Op::kCheck, Op::kLookup, Op::kFetch}) {
        EXPECT_FALSE(May(room, table, op, Service::kCredentials));
        EXPECT_FALSE(May(room, table, op, Service::kAuth));
      }
    }
  }
}

TEST_F(TableQuestionsTest, WhatIsNoProgram) {
  EXPECT_FALSE(May(Room::kParent, "here", Op::kLookup, Service::kUserinfo));
  EXPECT_FALSE(
      May(Room::kParent, "<getpwnam>", Op::kLookup, Service::kUserinfo));
  EXPECT_FALSE(May(Room::kParent, "nowhere", Op::kLookup, Service::kUserinfo));
}

TEST_F(TableQuestionsTest, Answers) {
  TableQuestion question;
  question.question = 7;
  using Result = TableAnswer::Result;
  const std::optional<std::string> found = "v", none;
  EXPECT_EQ(AnswerTo(Room::kRelay, question, found).value, "v");
  EXPECT_EQ(AnswerTo(Room::kRelay, question, found).question, 7u);
  EXPECT_EQ(AnswerTo(Room::kRelay, question, none).result, Result::kNotFound);
  for (const absl::Status& error :
       {absl::InternalError("x"), absl::UnimplementedError("x"),
        absl::InvalidArgumentError("x")}) {
    EXPECT_EQ(AnswerTo(Room::kRelay, question, error).result, Result::kError);
  }
  EXPECT_EQ(
      AnswerTo(Room::kFilters, question, absl::UnimplementedError("x")).result,
      Result::kNotOffered);
  EXPECT_EQ(AnswerTo(Room::kFilters, question, absl::InvalidArgumentError("x"))
                .result,
            Result::kNotFound);
  EXPECT_EQ(
      AnswerTo(Room::kFilters, question, absl::UnavailableError("x")).result,
      Result::kError);
}

}  // namespace
}  // namespace holdfast
