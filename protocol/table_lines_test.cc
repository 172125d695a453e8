#include "protocol/table_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast {
namespace {

TableRequest Asked(TableOp op, std::string service, std::string id,
                   std::string key = "") {
  TableRequest request;
  request.table = "pt";
  request.op = op;
  request.service = std::move(service);
  request.id = std::move(id);
  request.key = std::move(key);
  return request;
}

TableReply Said(TableOp op, TableReply::Result result, std::string text = "") {
  TableReply reply;
  reply.op = op;
  reply.id = "1aa3d5ac";
  reply.result = result;
  reply.text = std::move(text);
  return reply;
}

std::string WhyBad(absl::string_view line) {
  const auto reply = ParseTableReply(line);
  return reply.ok() ? "taken" : std::string(reply.status().message());
}

TEST(TableLinesTest, ServerGreets) {
  EXPECT_EQ(*TableGreeting("7.8.0-portable", "pt"),
            "config|smtpd-version|7.8.0-portable\n"
            "config|protocol|0.1\n"
            "config|tablename|pt\n"
            "config|ready\n");
  EXPECT_FALSE(TableGreeting("7.8.0-portable", "p|t").ok());
  EXPECT_FALSE(TableGreeting("7.8.0-portable", "p\nt").ok());
}

// As OpenSMTPD 7.8 was seen to ask, and how it was answered.
TEST(TableLinesTest, ExchangeOfTheReference) {
  struct {
    TableRequest request;
    int64_t usec;
    std::string line, answer;
    TableReply::Result result;
    std::string text;
  } const exchanges[] = {
      {Asked(TableOp::kCheck, "auth", "1aa3d5ac", "joe:secret|x"),
       1795324664107565,
       "table|0.1|1795324664.107565|pt|check|auth|1aa3d5ac|joe:secret|x\n",
       "check-result|1aa3d5ac|found", TableReply::Result::kFound, ""},
      {Asked(TableOp::kLookup, "mailaddrmap", "925b35bf", "joe"),
       1795324664107850,
       "table|0.1|1795324664.107850|pt|lookup|mailaddrmap|925b35bf|joe\n",
       "lookup-result|925b35bf|found|joe@mx.test, @d.test",
       TableReply::Result::kFound, "joe@mx.test, @d.test"},
      {Asked(TableOp::kCheck, "domain", "e139b9f2", "d.test"), 1795324664108409,
       "table|0.1|1795324664.108409|pt|check|domain|e139b9f2|d.test\n",
       "check-result|e139b9f2|found", TableReply::Result::kFound, ""},
      {Asked(TableOp::kLookup, "userinfo", "92372fac", "joe"), 1795324664000048,
       "table|0.1|1795324664.000048|pt|lookup|userinfo|92372fac|joe\n",
       "lookup-result|92372fac|found|1000:1000:/home/joe",
       TableReply::Result::kFound, "1000:1000:/home/joe"},
      {Asked(TableOp::kFetch, "source", "92372fad"), 1795324664000048,
       "table|0.1|1795324664.000048|pt|fetch|source|92372fad\n",
       "fetch-result|92372fad|not-found", TableReply::Result::kNotFound, ""},
      {Asked(TableOp::kUpdate, "", "92372fae"), 1795324664000048,
       "table|0.1|1795324664.000048|pt|update|92372fae\n",
       "update-result|92372fae|error|no | file", TableReply::Result::kError,
       "no | file"},
  };
  for (const auto& e : exchanges) {
    SCOPED_TRACE(e.line);
    EXPECT_EQ(*TableRequestLine(e.request, absl::FromUnixMicros(e.usec)),
              e.line);
    const auto heard = ParseTableRequest(
        absl::string_view(e.line).substr(0, e.line.size() - 1));
    ASSERT_TRUE(heard.ok()) << heard.status();
    EXPECT_EQ(heard->table, "pt");
    EXPECT_EQ(heard->op, e.request.op);
    EXPECT_EQ(heard->service, e.request.service);
    EXPECT_EQ(heard->id, e.request.id);
    EXPECT_EQ(heard->key, e.request.key);
    const auto reply = ParseTableReply(e.answer);
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_EQ(reply->op, e.request.op);
    EXPECT_EQ(reply->id, e.request.id);
    EXPECT_EQ(reply->result, e.result);
    EXPECT_EQ(reply->text, e.text);
    EXPECT_EQ(TableReplyLine(*reply), e.answer + "\n");
  }
}

TEST(TableLinesTest, KeysThatWouldBeTwoLinesAreNotSent) {
  for (const std::string& key :
       {std::string("a\nb"), std::string("a\r"), std::string("a\0b", 3)}) {
    EXPECT_FALSE(
        TableRequestLine(Asked(TableOp::kCheck, "string", "00000000", key),
                         absl::UnixEpoch())
            .ok());
  }
  EXPECT_FALSE(TableRequestLine(Asked(TableOp::kCheck, "string", "00000000",
                                      std::string(kMaxTableLine, 'k')),
                                absl::UnixEpoch())
                   .ok());
}

TEST(TableLinesTest, Registrations) {
  EXPECT_EQ(*ParseTableRegistration("register|mailaddrmap"), "mailaddrmap");
  EXPECT_EQ(*ParseTableRegistration("register|ready"), "ready");
  EXPECT_FALSE(ParseTableRegistration("register|").ok());
  EXPECT_FALSE(ParseTableRegistration("register|Alias").ok());
  EXPECT_FALSE(ParseTableRegistration("register|alias|domain").ok());
  EXPECT_FALSE(ParseTableRegistration("hello").ok());
  EXPECT_EQ(TableRegistrations({"alias", "auth"}),
            "register|alias\nregister|auth\nregister|ready\n");
}

TEST(TableLinesTest, AnswersThatAreNone) {
  EXPECT_EQ(WhyBad(""), "not an answer");
  EXPECT_EQ(WhyBad("check-result|1aa3d5ac"), "not an answer");
  EXPECT_EQ(WhyBad("check|1aa3d5ac|found"), "not an answer");
  EXPECT_EQ(WhyBad("guess-result|1aa3d5ac|found"), "unknown operation");
  EXPECT_EQ(WhyBad("check-result|1AA3D5AC|found"), "not an identifier");
  EXPECT_EQ(WhyBad("check-result|1aa3d5a|found"), "not an identifier");
  EXPECT_EQ(WhyBad("check-result|1aa3d5ac|maybe"), "unknown result");
  EXPECT_EQ(WhyBad("check-result|1aa3d5ac|ok"), "unknown result");
  EXPECT_EQ(WhyBad("update-result|1aa3d5ac|found"), "unknown result");
  EXPECT_EQ(WhyBad("update-result|1aa3d5ac|not-found"), "unknown result");
  EXPECT_EQ(WhyBad("check-result|1aa3d5ac|found|x"),
            "a value that was not asked for");
  EXPECT_EQ(WhyBad("check-result|1aa3d5ac|not-found|x"), "unknown result");
  EXPECT_EQ(WhyBad("lookup-result|1aa3d5ac|found"), "no value");
  EXPECT_EQ(WhyBad("lookup-result|1aa3d5ac|found|"), "empty value");
  EXPECT_EQ(WhyBad("fetch-result|1aa3d5ac|found|"), "empty value");
  EXPECT_EQ(WhyBad("lookup-result|1aa3d5ac|found|x\r"), "CR or NUL in a line");
  EXPECT_EQ(WhyBad(std::string(kMaxTableLine + 1, 'x')), "line too long");
  EXPECT_EQ(WhyBad("lookup-result|1aa3d5ac|error"), "taken");
  EXPECT_EQ(WhyBad("lookup-result|1aa3d5ac|error|"), "taken");
}

TEST(TableLinesTest, ProgramReadsItsConfiguration) {
  EXPECT_EQ(ParseTableConfig("config|tablename|a|b"),
            std::make_pair(std::string("tablename"), std::string("a|b")));
  EXPECT_EQ(ParseTableConfig("config|ready"),
            std::make_pair(std::string("ready"), std::string()));
  EXPECT_FALSE(ParseTableConfig("table|0.1").has_value());
}

TEST(TableLinesTest, RequestsThatAreNone) {
  for (const char* line :
       {"", "table", "table|0.2|1.000000|pt|check|alias|1aa3d5ac|k",
        "table|0.1|1.000000|pt|guess|alias|1aa3d5ac|k",
        "table|0.1|1.000000|pt|check|guess|1aa3d5ac|k",
        "table|0.1|1.000000|pt|check|alias|1aa3d5ac",
        "table|0.1|1.000000|pt|check|alias||k",
        "table|0.1|1.000000|pt|fetch|source|", "table|0.1|1.000000|pt|fetch",
        "table|0.1|1.000000|pt|update|"}) {
    EXPECT_FALSE(ParseTableRequest(line).ok()) << line;
  }
}

TEST(TableLinesTest, WhatNoLineCanCarryIsAnError) {
  using R = TableReply::Result;
  EXPECT_EQ(TableReplyLine(Said(TableOp::kLookup, R::kFound)),
            "lookup-result|1aa3d5ac|error|empty value\n");
  EXPECT_EQ(TableReplyLine(Said(TableOp::kLookup, R::kFound, "a\nb")),
            "lookup-result|1aa3d5ac|error|value with CR, LF or NUL\n");
  EXPECT_EQ(
      TableReplyLine(Said(TableOp::kFetch, R::kFound, std::string(70000, 'x'))),
      "fetch-result|1aa3d5ac|error|value too long\n");
  EXPECT_EQ(TableReplyLine(Said(TableOp::kCheck, R::kError, "a\nb|c")),
            "check-result|1aa3d5ac|error|a b|c\n");
  EXPECT_EQ(TableReplyLine(Said(TableOp::kCheck, R::kError)),
            "check-result|1aa3d5ac|error\n");
  EXPECT_EQ(TableReplyLine(Said(TableOp::kUpdate, R::kFound)),
            "update-result|1aa3d5ac|ok\n");
}

}  // namespace
}  // namespace holdfast
