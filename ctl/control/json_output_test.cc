#include "ctl/control/json_output.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

std::string Converted(const std::vector<std::string>& words,
                      const std::string& text) {
  const std::unique_ptr<JsonOutput> output = JsonOutput::For(words);
  if (output == nullptr) return "none";
  std::string json;
  for (const char c : text) json += output->Take(std::string(1, c));
  return json + output->End();
}

TEST(JsonOutput, Queue) {
  EXPECT_EQ(
      Converted({"show", "queue"},
                "8d1fc6650ae2cde2|local|mta|auth,suspend|@|\"a|\\\"b\"@c.test|"
                "d@e.test|1795324100|1795324200|0|1|pending|-3|450 x|y\n"),
      "{\"id\":\"8d1fc6650ae2cde2\",\"message\":\"8d1fc665\",\"origin\":"
      "\"local\",\"kind\":\"mta\",\"flags\":[\"auth\",\"suspend\"],\"sender\":"
      "\"\",\"rcpt\":\"\\\"a|\\\\\\\"b\\\"@c.test\",\"dest\":\"d@e.test\","
      "\"created\":1795324100,\"expires\":1795324200,\"last_try\":null,"
      "\"tries\":1,\"state\":\"pending\",\"seconds\":-3,\"error\":\"450 "
      "x|y\"}\n");
  EXPECT_EQ(Converted({"show", "queue", "8d1fc665"}, ""), "");
}

TEST(JsonOutput, Mta) {
  EXPECT_EQ(Converted({"show", "hosts"},
                      "192.0.2.1 (null) refcount=1 nconn=1 lastconn=-\n"),
            "{\"address\":\"192.0.2.1\",\"name\":null,\"refcount\":1,"
            "\"nconn\":1,\"lastconn\":null}\n");
  EXPECT_EQ(Converted({"show", "routes"},
                      "2. [2001:db8::7] <-> [2001:db8::1] (six.test) ND-- "
                      "nconn=0 nerror=0 penalty=1 timeout=1d1m5s\n"),
            "{\"id\":2,\"source\":\"2001:db8::7\",\"address\":\"2001:db8::1\","
            "\"name\":\"six.test\",\"flags\":[\"new\",\"disabled\"],\"nconn\":0"
            ",\"nerror\":0,\"penalty\":1,\"timeout\":86465}\n");
  EXPECT_EQ(
      Converted({"show", "relays"},
                "[relay:a.test,smtp] refcount=2 ntask=0 nconn=1 lastconn=0s "
                "timeout=6s wait=connector\n"
                "  connector [] refcount=0 nconn=1 lastconn=0s timeout=- "
                "flags=WAIT,LIMIT_HOST\n"
                "[relay:b.test,smtp] refcount=1 ntask=0 nconn=0 lastconn=- "
                "timeout=- wait=\n"),
      "{\"relay\":\"[relay:a.test,smtp]\",\"refcount\":2,\"ntask\":0,\"nconn\":"
      "1,\"lastconn\":0,\"timeout\":6,\"wait\":[\"connector\"],\"connectors\":"
      "[{\"source\":\"\",\"refcount\":0,\"nconn\":1,\"lastconn\":0,\"timeout\":"
      "null,\"flags\":[\"WAIT\",\"LIMIT_HOST\"]}]}\n"
      "{\"relay\":\"[relay:b.test,smtp]\",\"refcount\":1,\"ntask\":0,\"nconn\":"
      "0,\"lastconn\":null,\"timeout\":null,\"wait\":[],\"connectors\":[]}\n");
  EXPECT_EQ(Converted({"show", "hoststats"}, "a.test|12|450 x|y\n"),
            "{\"domain\":\"a.test\",\"when\":12,\"status\":\"450 x|y\"}\n");
  EXPECT_EQ(Converted({"show", "mta", "paused"}, "[] -> a.test\n"),
            "{\"source\":\"\",\"domain\":\"a.test\"}\n");
}

TEST(JsonOutput, Objects) {
  EXPECT_EQ(Converted({"show", "stats"},
                      "smtp.session=1\nuptime=5\nuptime.human=5s\n"),
            "{\"smtp.session\":1,\"uptime\":5,\"uptime.human\":\"5s\"}\n");
  EXPECT_EQ(
      Converted({"show", "status"}, "MDA running\nMTA paused\nSMTP running\n"),
      "{\"mda\":\"running\",\"mta\":\"paused\",\"smtp\":\"running\"}\n");
  EXPECT_EQ(Converted({"show", "ledger"}, "accepted 2\nbalanced yes\n"),
            "{\"accepted\":2,\"balanced\":true}\n");
  EXPECT_EQ(Converted({"show", "envelope", "8d1fc6650ae2cde2"},
                      "version: 3\nsender: 1\nflags: a b\nattempt: x\n"
                      "attempt: y\n"),
            "{\"version\":3,\"sender\":\"1\",\"flags\":[\"a\",\"b\"],"
            "\"attempts\":[\"x\",\"y\"]}\n");
  EXPECT_EQ(Converted({"show", "envelope", "8d1fc6650ae2cde2"}, ""), "");
  EXPECT_EQ(Converted({"explain", "x@a.test"},
                      "recipient  <x@a.test>\nlistener   socket\n\naddress x\n"
                      "  y\n\nreply: 250 fine\n"),
            "{\"recipient\":\"<x@a.test>\",\"listener\":\"socket\",\"steps\":"
            "[\"address x\",\"  y\"],\"reply\":\"250 fine\"}\n");
}

TEST(JsonOutput, Acts) {
  EXPECT_EQ(Converted({"remove", "all"}, "3 envelopes removed\n"),
            "{\"envelopes\":3,\"act\":\"removed\"}\n");
  EXPECT_EQ(Converted({"pause", "mta"}, "command failed\n"),
            "{\"ok\":false}\n");
  EXPECT_EQ(Converted({"queue", "check"},
                      "bad row\nqueue check: 1 messages, 2 envelopes, 1 "
                      "problems\n"),
            "{\"problem\":\"bad row\"}\n"
            "{\"messages\":1,\"envelopes\":2,\"problems\":1}\n");
}

TEST(JsonOutput, Monitor) {
  EXPECT_EQ(
      Converted({"monitor"},
                "curr conn disc  curr  enq  deq   ok tmpfail prmfail loop "
                "expire remove bounce\n"
                "   1    2    3     4    5    6    7       8       9   10     "
                "11     12     13\n"),
      "{\"sessions\":1,\"connected\":2,\"disconnected\":3,\"envelopes\":4,"
      "\"enqueued\":5,\"dequeued\":6,\"ok\":7,\"tempfail\":8,\"permfail\":9,"
      "\"loop\":10,\"expired\":11,\"removed\":12,\"bounces\":13}\n");
}

TEST(JsonOutput, NotForAll) {
  EXPECT_EQ(Converted({"show", "message", "8d1fc665"}, "x"), "none");
  EXPECT_EQ(Converted({"queue", "list"}, "x"), "none");
}

}  // namespace
}  // namespace holdfast
