#include "server/lookup/table_questions.h"

#include <gtest/gtest.h>

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
    const ParseResult parsed = ParseConfig(options, [](const std::string&) {
      return absl::StatusOr<std::string>(
          "table hosts p\ntable domains p\ntable sources p\ntable names p\n"
          "table secrets p\ntable users p\ntable bad p\n"
          "table here { x = y }\n"
          "filter f phase connect match src <bad> disconnect \"550 no\"\n"
          "action a relay host <hosts> auth <secrets> src <sources>"
          " helo-src <names>\n"
          "action b relay domain <domains>\n"
          "action c mbox userbase <users> alias <here>\n"
          "match for any action a\n");
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
  EXPECT_EQ(passed, 6);
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
  EXPECT_EQ(AnswerTo(question, std::optional<std::string>("v")).value, "v");
  EXPECT_EQ(AnswerTo(question, std::optional<std::string>("v")).question, 7u);
  EXPECT_EQ(AnswerTo(question, std::optional<std::string>()).result,
            TableAnswer::Result::kNotFound);
  EXPECT_EQ(AnswerTo(question, absl::InternalError("x")).result,
            TableAnswer::Result::kError);
}

}  // namespace
}  // namespace holdfast
