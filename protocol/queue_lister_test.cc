#include "protocol/queue_lister.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using Words = std::vector<std::string>;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

EnvelopeFacts Sample(int n = 1) {
  EnvelopeFacts facts;
  Envelope& e = facts.envelope;
  e.id = MakeEnvelopeId(MessageId{0x1a2b3c00u + static_cast<uint32_t>(n)}, 1);
  e.action = "relay";
  e.tag = "office";
  e.smtpname = "mx.example.com";
  e.sockaddr = "192.0.2.1";
  e.sender = {"joe", "sender.example"};
  e.rcpt = {"alias", "example.com"};
  e.dest = {"user", n % 3 == 0 ? "a.example" : "B.example"};
  e.created = kNow - absl::Minutes(n);
  e.expires = kNow + absl::Hours(93);
  e.retry = static_cast<uint32_t>(n);
  e.flags = kFlagTls | kFlagAuthenticated;
  e.status = EnhancedStatus::Make(4, 7, 1);
  facts.size = static_cast<uint64_t>(n) * 1000;
  facts.destination = "example.org";
  facts.due = kNow + absl::Minutes(5);
  facts.state = EnvelopeState::kDeferred;
  facts.error = "421 \"later\",\r\n\x1b[31m";
  return facts;
}

QueueListRequest Request(const Words& words) {
  const auto request = ParseQueueListRequest(words);
  EXPECT_TRUE(request.ok()) << request.status();
  return *request;
}

std::string Listed(const Words& words,
                   const std::vector<EnvelopeFacts>& envelopes) {
  QueueLister lister(Request(words), kNow);
  for (const EnvelopeFacts& facts : envelopes)
    EXPECT_TRUE(lister.Add(facts).ok());
  lister.End();
  std::string text = lister.Take(1 << 20);
  EXPECT_TRUE(lister.done());
  return text;
}

std::vector<EnvelopeFacts> Some(std::vector<int> numbers) {
  std::vector<EnvelopeFacts> envelopes;
  for (const int n : numbers) envelopes.push_back(Sample(n));
  return envelopes;
}

TEST(QueueListRequest, OptionsStandAnywhere) {
  const QueueListRequest request =
      Request({"--sort", "age,desc", "domain", "=", "x", "--limit=5", "and",
               "age > 2h", "--format", "id,to"});
  EXPECT_EQ(request.filter, "domain = x and age > 2h");
  EXPECT_EQ(request.sort, EnvelopeField::kAge);
  EXPECT_TRUE(request.descending);
  EXPECT_EQ(request.limit, 5u);
  EXPECT_EQ(request.format, QueueListRequest::Format::kFields);
  EXPECT_EQ(request.fields,
            (std::vector{EnvelopeField::kId, EnvelopeField::kRecipient}));
  EXPECT_EQ(Request({"--", "--count"}).filter, "--count");
  EXPECT_EQ(Request({}).filter, "");
  EXPECT_EQ(Request({"--json"}).format, QueueListRequest::Format::kJson);
  EXPECT_EQ(Request({"--format=csv:id"}).fields.size(), 1u);
}

TEST(QueueListRequest, WhatIsWrong) {
  const std::pair<Words, const char*> cases[] = {
      {{"--sort"}, "--sort: a value must follow"},
      {{"--sort", "agee"},
       "--sort: there is no field 'agee', did you mean 'age'?"},
      {{"--sort", "age,up"}, "--sort: behind the comma stands 'desc' or 'asc'"},
      {{"--limit", "0"}, "--limit: expected a number above 0"},
      {{"--limit=many"}, "--limit: expected a number above 0"},
      {{"--group-by", "age"},
       "--group-by: 'age' differs from envelope to envelope"},
      {{"--format", "xml"}, "--format: there is no field 'xml'"},
      {{"--format", "json:"}, "--format: there is no field ''"},
      {{"--limt", "3"}, "there is no option '--limt', did you mean '--limit'?"},
      {{"--count", "--limit", "3"},
       "--count goes with a filter and --format only"},
      {{"--group-by=domain", "--sort=age"},
       "--sort does not go with --group-by: the largest come first"},
      {{"--count", "--format=id"}, "--format: here it is text, json or csv"},
  };
  for (const auto& [words, says] : cases)
    EXPECT_EQ(ParseQueueListRequest(words).status().message(),
              absl::string_view(says));
}

// What docs/OPERATING.md promises to programs.
TEST(QueueRows, GoldenJson) {
  EXPECT_EQ(
      Listed({"--json"}, Some({1})),
      "{\"id\":\"1a2b3c0100000001\",\"message\":\"1a2b3c01\",\"sender\":\"joe@"
      "sender.example\",\"sender_domain\":\"sender.example\",\"recipient\":"
      "\"user@B.example\",\"domain\":\"B.example\",\"rcpt\":\"alias@example."
      "com\",\"destination\":\"example.org\",\"kind\":\"mta\",\"action\":"
      "\"relay\",\"tag\":\"office\",\"listener\":\"mx.example.com\",\"user\":"
      "\"\",\"client\":\"192.0.2.1\",\"size\":1000,\"age\":60,\"created\":"
      "\"2027-01-15T07:59:00.000Z\",\"due\":300,\"due_at\":\"2027-01-15T08:05:"
      "00.000Z\",\"expiry\":334800,\"expires\":\"2027-01-19T05:00:00.000Z\","
      "\"attempts\":1,\"error\":\"421 \\\"later\\\",\\r\\n\\u001b[31m\","
      "\"status\":\"4.7.1\",\"state\":\"deferred\",\"priority\":0,\"flag\":["
      "\"auth\",\"tls\"]}\n");
  EnvelopeFacts held = Sample();
  held.due.reset();
  held.envelope.status = {};
  held.error = "\xff";
  EXPECT_EQ(Listed({"--format", "json:due,status,error"}, {held}),
            "{\"due\":null,\"due_at\":null,\"status\":null,\"error\":\"\\ufffd"
            "\"}\n");
}

TEST(QueueRows, GoldenCsv) {
  EXPECT_EQ(Listed({"--format", "csv:id,age,error,flag"}, Some({1})),
            "id,age,error,flag\r\n"
            "1a2b3c0100000001,60,\"421 \"\"later\"\",\\r\\n\\^[[31m\",\"auth,"
            "tls\"\r\n");
  EXPECT_EQ(Listed({"--format", "csv:id"}, {}), "id\r\n");
  const std::string all = Listed({"--format=csv"}, Some({1}));
  EXPECT_EQ(all.substr(0, all.find("\r\n")),
            "id,message,sender,sender-domain,recipient,domain,rcpt,destination,"
            "kind,action,tag,listener,user,client,size,age,due,expiry,attempts,"
            "error,status,state,priority,flag");
}

TEST(QueueRows, GoldenText) {
  EXPECT_EQ(
      Listed({}, Some({1})),
      "ID                STATE        AGE     DUE TRIES   SIZE  SENDER         "
      " "
      "              RECIPIENT                     ERROR\n"
      "1a2b3c0100000001  deferred      1m      5m     1   1000  "
      "<joe@sender.exam"
      "ple>          <user@B.example>              421 \"later\",\\r\\n\\^[[31m"
      "\n");
  EXPECT_EQ(Listed({}, {}), "");
}

TEST(QueueRows, ChosenFieldsHaveTabsBetweenThem) {
  EXPECT_EQ(Listed({"--format", "id,age,state"}, Some({1})),
            "1a2b3c0100000001\t60\tdeferred\n");
}

TEST(QueueRows, ShortForms) {
  EXPECT_EQ(ShortDuration(59), "59s");
  EXPECT_EQ(ShortDuration(-61), "-1m");
  EXPECT_EQ(ShortDuration(3 * 3600 + 300), "3h05m");
  EXPECT_EQ(ShortDuration(2 * 86400 + 4 * 3600), "2d04h");
  EXPECT_EQ(ShortBytes(1023), "1023");
  EXPECT_EQ(ShortBytes(4300), "4.2K");
  EXPECT_EQ(ShortBytes(17 << 20), "17M");
  EXPECT_EQ(ShortBytes(5ull << 40), "5T");
}

TEST(QueueLister, WithoutOrderLinesComeAtOnceAndStopAtTheLimit) {
  QueueLister lister(Request({"--format=id", "--limit=2"}), kNow);
  EXPECT_EQ(lister.Take(100), "");
  ASSERT_TRUE(lister.Add(Sample(1)).ok());
  EXPECT_EQ(lister.Take(100), "1a2b3c0100000001\n");
  EXPECT_FALSE(lister.full());
  ASSERT_TRUE(lister.Add(Sample(2)).ok());
  EXPECT_TRUE(lister.full());
  ASSERT_TRUE(lister.Add(Sample(3)).ok());
  EXPECT_EQ(lister.Take(100), "1a2b3c0200000001\n");
  EXPECT_FALSE(lister.done());
  lister.End();
  EXPECT_TRUE(lister.done());
}

TEST(QueueLister, SortsUpAndDownWithAndWithoutLimit) {
  const auto envelopes = Some({3, 1, 5, 2, 4});
  EXPECT_EQ(Listed({"--format=attempts", "--sort=attempts"}, envelopes),
            "1\n2\n3\n4\n5\n");
  EXPECT_EQ(
      Listed({"--format=attempts", "--sort=age,desc", "--limit=2"}, envelopes),
      "5\n4\n");
  EXPECT_EQ(
      Listed({"--format=attempts", "--sort=size", "--limit=3"}, envelopes),
      "1\n2\n3\n");
  // Equal ones by id; texts without regard to case.
  EXPECT_EQ(Listed({"--format=attempts", "--sort=domain"}, envelopes),
            "3\n1\n2\n4\n5\n");
  EXPECT_EQ(Listed({"--format=attempts", "--sort=domain,desc"}, envelopes),
            "1\n2\n4\n5\n3\n");
}

TEST(QueueLister, WhatHasNoValueGoesLast) {
  auto envelopes = Some({1, 2});
  envelopes[0].due.reset();
  EXPECT_EQ(Listed({"--format=attempts", "--sort=due"}, envelopes), "2\n1\n");
  EXPECT_EQ(Listed({"--format=attempts", "--sort=due,desc"}, envelopes),
            "2\n1\n");
}

TEST(QueueLister, SortingHasAMaximum) {
  QueueLister all(Request({"--format=id", "--sort=age"}), kNow);
  QueueLister few(Request({"--format=id", "--sort=age", "--limit=10"}), kNow);
  const EnvelopeFacts facts = Sample();
  for (size_t i = 0; i < kMaxListedRows; ++i) ASSERT_TRUE(all.Add(facts).ok());
  EXPECT_EQ(all.Add(facts).code(), absl::StatusCode::kResourceExhausted);
  for (size_t i = 0; i <= kMaxListedRows; ++i) ASSERT_TRUE(few.Add(facts).ok());

  QueueLister wide(Request({"--format=error", "--sort=age"}), kNow);
  EnvelopeFacts talkative = Sample();
  talkative.error = std::string(kMaxListedBytes / 10, 'x');
  absl::Status status;
  for (int i = 0; i < 10 && status.ok(); ++i) status = wide.Add(talkative);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
}

TEST(QueueLister, GroupsByCount) {
  const auto envelopes = Some({1, 2, 3, 4, 6});
  EXPECT_EQ(Listed({"--group-by=domain"}, envelopes),
            "    COUNT   BYTES  OLDEST  DOMAIN\n"
            "        3    6.8K      4m  B.example\n"
            "        2    8.8K      6m  a.example\n");
  EXPECT_EQ(
      Listed({"--group-by=domain", "--limit=1", "--format=csv"}, envelopes),
      "domain,count,bytes,oldest\r\nB.example,3,7000,240\r\n");
  EXPECT_EQ(Listed({"--group-by=domain", "--limit=1", "--json"}, envelopes),
            "{\"field\":\"domain\",\"value\":\"B.example\",\"count\":3,"
            "\"bytes\":7000,\"oldest\":240,\"oldest_created\":"
            "\"2027-01-15T07:56:00.000Z\"}\n");
  EXPECT_EQ(Listed({"--group-by=state"}, {}), "");
}

TEST(QueueLister, TooManyGroupsAreOne) {
  QueueLister lister(Request({"--group-by=tag", "--format=csv"}), kNow);
  EnvelopeFacts facts = Sample();
  for (size_t i = 0; i < kMaxListedRows + 10; ++i) {
    facts.envelope.tag = absl::StrCat("t", i);
    ASSERT_TRUE(lister.Add(facts).ok());
  }
  lister.End();
  std::string last;
  for (std::string text; !(text = lister.Take(1)).empty();) last = text;
  EXPECT_EQ(last, "(others),10,10000,60\r\n");
  EXPECT_TRUE(lister.done());
}

TEST(QueueLister, Counts) {
  EXPECT_EQ(Listed({"--count"}, Some({1, 2})), "2\n");
  EXPECT_EQ(Listed({"--count"}, {}), "0\n");
  EXPECT_EQ(Listed({"--count", "--json"}, Some({1, 2})),
            "{\"count\":2,\"bytes\":3000}\n");
  EXPECT_EQ(Listed({"--count", "--format=csv"}, Some({1, 2})),
            "count,bytes\r\n2,3000\r\n");
}

}  // namespace
}  // namespace holdfast
