#include "protocol/history_listing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;

Envelope MakeEnvelope() {
  Envelope e;
  e.id = EnvelopeId{0x8d1fc6650ae2cde2};
  e.sender = {"alice", "example.org"};
  e.rcpt = {"list", "example.org"};
  e.dest = {"bob", "example.net"};
  e.created = absl::FromUnixSeconds(1795382274);
  return e;
}

Attempt MakeAttempt(int64_t began, absl::string_view relay,
                    absl::string_view answer) {
  Attempt attempt;
  attempt.began = absl::FromUnixMillis(began * 1000 + 250);
  attempt.took = absl::Milliseconds(1500);
  attempt.source = "192.0.2.1";
  attempt.relay = std::string(relay);
  attempt.answer = std::string(answer);
  return attempt;
}

TEST(HistoryListingTest, ForPeopleInColumns) {
  Envelope e = MakeEnvelope();
  e.attempts = {MakeAttempt(1795382280, "198.51.100.9 (mx.example.net)",
                            "451 4.7.1 Greylisted"),
                MakeAttempt(1795382680, "203.0.113.1 (mx2)", "250 ok")};
  e.attempts[1].result = Attempt::Result::kOk;
  e.attempts[1].tls = "TLSv1.3:TLS_AES_256_GCM_SHA384:256 verified";
  HistoryListing listing{
      &e, "delivered", absl::FromUnixSeconds(1795382682), 7, {}};
  EXPECT_EQ(
      HistoryText(listing),
      "8d1fc6650ae2cde2 mta from=<alice@example.org> to=<bob@example.net> "
      "delivered 2026-11-22T21:24:42Z\n"
      "  2026-11-22T21:18:00Z  1.500s  TempFail  192.0.2.1  198.51.100.9 "
      "(mx.example.net)  -                                            451 "
      "4.7.1 Greylisted\n"
      "  2026-11-22T21:24:40Z  1.500s  Ok        192.0.2.1  203.0.113.1 (mx2)"
      "              TLSv1.3:TLS_AES_256_GCM_SHA384:256 verified  250 ok\n");
}

TEST(HistoryListingTest, WhatIsNotKnown) {
  Envelope e = MakeEnvelope();
  e.kind = DeliveryKind::kMda;
  Attempt doubt;
  doubt.began = absl::UnixEpoch();
  doubt.result = Attempt::Result::kInDoubt;
  e.attempts = {doubt};
  HistoryListing listing;
  listing.envelope = &e;
  listing.state = "queued";
  EXPECT_EQ(HistoryText(listing),
            "8d1fc6650ae2cde2 mda from=<alice@example.org> "
            "to=<bob@example.net> queued\n"
            "  -  0.000s  InDoubt  -  -  -  -\n");
  const auto json = nlohmann::json::parse(HistoryJson(listing));
  EXPECT_TRUE(json["ended"].is_null());
  EXPECT_TRUE(json["serial"].is_null());
  EXPECT_TRUE(json["attempts"][0]["time"].is_null());
}

TEST(HistoryListingTest, WhyTheDestinationWaits) {
  const Envelope e = MakeEnvelope();
  HistoryListing listing;
  listing.envelope = &e;
  listing.state = "queued";
  listing.destination = {"Network error on destination MXs \x1b", 3,
                         absl::FromUnixSeconds(1795382280),
                         absl::FromUnixSeconds(1795382680)};
  EXPECT_EQ(HistoryText(listing),
            "8d1fc6650ae2cde2 mta from=<alice@example.org> "
            "to=<bob@example.net> queued\n"
            "  destination: 3 failures since 2026-11-22T21:18:00Z, waits until "
            "2026-11-22T21:24:40Z  Network error on destination MXs \\^[\n");
  const auto json = nlohmann::json::parse(HistoryJson(listing));
  EXPECT_EQ(json["destination_failure"]["failures"], 3);
  EXPECT_EQ(json["destination_failure"]["until"], "2026-11-22T21:24:40.000Z");
}

TEST(HistoryListingTest, TextsFromOutsideStayOnTheirLine) {
  Envelope e = MakeEnvelope();
  e.attempts = {MakeAttempt(1795382280, "1 (\x1b[2Jmx)\n",
                            "451 a\r\n\"fake\" \xff\x80 \\ \x00"
                            "end")};
  e.sender.user = "a\nb";
  HistoryListing listing;
  listing.envelope = &e;
  listing.state = "queued";
  for (const std::string& line : {HistoryText(listing), HistoryJson(listing)}) {
    for (const char c : line)
      EXPECT_TRUE(absl::ascii_isprint(c) || c == '\n') << line;
  }
  const std::string json = HistoryJson(listing);
  EXPECT_EQ(std::count(json.begin(), json.end(), '\n'), 1);
  const auto parsed = nlohmann::json::parse(json);
  EXPECT_EQ(parsed["sender"], "a\nb@example.org");
  EXPECT_THAT(std::string(parsed["attempts"][0]["answer"]),
              HasSubstr("451 a\r\n\"fake\" \xef\xbf\xbd"));
  const std::string text = HistoryText(listing);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
}

TEST(HistoryListingTest, Requests) {
  const auto one = ParseHistoryRequest({"history", "8d1fc6650ae2cde2"});
  ASSERT_TRUE(one.has_value());
  EXPECT_EQ(one->first, EnvelopeId{0x8d1fc6650ae2cde2});
  EXPECT_EQ(one->last, one->first);
  EXPECT_FALSE(one->json);
  const auto all = ParseHistoryRequest({"history", "--json", "8d1fc665"});
  ASSERT_TRUE(all.has_value());
  EXPECT_EQ(all->first, EnvelopeId{0x8d1fc66500000000});
  EXPECT_EQ(all->last, EnvelopeId{0x8d1fc665ffffffff});
  EXPECT_TRUE(all->json);
  EXPECT_TRUE(ParseHistoryRequest({"history", "8d1fc665", "--json"})->json);
  for (const std::vector<std::string>& bad :
       std::vector<std::vector<std::string>>{
           {"history"},
           {},
           {"history", "--json"},
           {"history", "x"},
           {"history", "8d1fc665", "8d1fc665"},
           {"history", "--json", "--json", "8d1fc665"},
           {"show", "8d1fc665"}})
    EXPECT_FALSE(ParseHistoryRequest(bad).has_value());
}

TEST(HistoryListingTest, JsonNamesAreStable) {
  Envelope e = MakeEnvelope();
  e.attempts = {MakeAttempt(1795382280, "198.51.100.9 (mx)", "550 no")};
  e.attempts[0].result = Attempt::Result::kPermFail;
  EXPECT_EQ(
      HistoryJson({&e, "reported", absl::FromUnixSeconds(1795382282), 12, {}}),
      "{\"envelope\":\"8d1fc6650ae2cde2\",\"serial\":12,\"kind\":\"mta\","
      "\"sender\":\"alice@example.org\",\"recipient\":\"list@example.org\","
      "\"destination\":\"bob@example.net\","
      "\"created\":\"2026-11-22T21:17:54.000Z\",\"state\":\"reported\","
      "\"ended\":\"2026-11-22T21:18:02.000Z\",\"destination_failure\":null,"
      "\"attempts\":["
      "{\"time\":\"2026-11-22T21:18:00.250Z\",\"duration\":1.5,"
      "\"result\":\"PermFail\",\"source\":\"192.0.2.1\","
      "\"relay\":\"198.51.100.9 (mx)\",\"tls\":\"\","
      "\"answer\":\"550 no\"}]}\n");
}

}  // namespace
}  // namespace holdfast
