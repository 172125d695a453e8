#include "config/ruleset.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "config/parser.h"

namespace holdfast {
namespace {

std::shared_ptr<const Config> Parse(const std::string& rules) {
  ParseOptions options;
  options.path = "c.conf";
  options.server_name = "mx.example.org";
  options.local_addresses = {"127.0.0.1", "::1", "192.0.2.1"};
  const ParseResult result = ParseConfig(options, [&](const std::string&) {
    return absl::StatusOr<std::string>(
        absl::StrCat("action yes mbox\n", rules, "\n"));
  });
  for (const std::string& message : result.messages) ADD_FAILURE() << message;
  return result.config;
}

MailSubject Subject() {
  MailSubject subject;
  subject.sockaddr = "203.0.113.9";
  subject.rdns = "client.example.net";
  subject.helo = "Client.Example.NET";
  subject.tag = "Tag";
  subject.sender = {"joe", "sender.test"};
  subject.dest = {"jim", "dest.test"};
  return subject;
}

// Whether the one rule matches.
bool Matches(const std::string& criteria, const MailSubject& subject) {
  const auto config = Parse(absl::StrCat("match ", criteria, " action yes"));
  if (config == nullptr) return false;
  const auto found = FirstMatch(*config, subject);
  EXPECT_TRUE(found.ok()) << found.status();
  return found.ok() && *found != nullptr;
}

struct Case {
  const char* criteria;
  bool matches;
};

void Check(const std::vector<Case>& cases, const MailSubject& subject) {
  for (const Case& c : cases) {
    EXPECT_EQ(Matches(c.criteria, subject), c.matches) << c.criteria;
  }
}

TEST(Ruleset, RemoteClient) {
  Check(
      {
          {"from any for any", true},
          {"for any", false},
          {"from any", false},
          {"! from local for any", true},
          {"from local ! for local", false},
          {"from socket for any", false},
          {"! from socket for any", true},
          {"from src 203.0.113.9 for any", true},
          {"from src { 203.0.113.0/24 } for any", true},
          {"! from src { 203.0.113.0/24 } for any", false},
          {"from src 10.0.0.0/8 for any", false},
          {"from src regex \"^203\\.\" for any", true},
          {"from rdns for any", true},
          {"! from rdns for any", false},
          {"from rdns \"*.example.net\" for any", true},
          {"! from rdns \"*.example.org\" for any", true},
          {"from rdns regex \"net$\" for any", true},
          {"from any for domain dest.test", true},
          {"from any for domain \"*.test\"", true},
          {"from any for domain regex \"^DEST\"", true},
          {"from any ! for domain dest.test", false},
          {"from any for rcpt-to \"@dest.test\"", true},
          {"from any for rcpt-to jim", true},
          {"from any ! for rcpt-to jim", false},
          {"from any for any rcpt-to regex \"^jim@\"", true},
          {"from any for any tag \"tag\"", true},
          {"from any for any tag other", false},
          {"from any for any tag regex \"^t\"", true},
          {"from any for any ! tag \"tag\"", false},
          {"from any for any helo \"*.example.net\"", true},
          {"from any for any helo regex \"^client\"", true},
          {"from any for any mail-from \"@sender.test\"", true},
          {"from any for any ! mail-from joe", false},
          {"from mail-from joe for any", true},
          {"! from mail-from joe for any", false},
          {"from any for any auth", false},
          {"from any for any ! auth", true},
          {"from any for any auth joe", false},
          {"from any for any ! auth joe", true},
          {"from auth for any", false},
          {"! from auth for any", true},
          {"from any for any tls", false},
          {"from any for any ! tls", true},
      },
      Subject());
}

TEST(Ruleset, LocalClients) {
  MailSubject subject = Subject();
  subject.dest.domain = "MX.example.org";
  for (const char* address : {"local", "127.0.0.1", "[::1]", "192.0.2.1"}) {
    subject.sockaddr = address;
    EXPECT_TRUE(Matches("for local", subject)) << address;
    EXPECT_TRUE(Matches("from local for any", subject)) << address;
    EXPECT_EQ(Matches("from socket for any", subject),
              absl::string_view(address) == "local");
  }
  subject.dest.domain = "mx";
  EXPECT_FALSE(Matches("for local", subject));
  EXPECT_TRUE(Matches("for any", subject));
  subject.dest.domain = "localhost";
  EXPECT_TRUE(Matches("for local", subject));
  subject.dest.domain = "[192.0.2.1]";
  EXPECT_FALSE(Matches("for local", subject));
  subject.dest.domain = "";
  EXPECT_FALSE(Matches("for any", subject));
}

TEST(Ruleset, NoReverseName) {
  MailSubject subject = Subject();
  subject.rdns = "<unknown>";
  Check(
      {
          {"from rdns for any", false},
          {"! from rdns for any", true},
          {"from rdns \"*\" for any", false},
          {"! from rdns \"*\" for any", false},
      },
      subject);
}

TEST(Ruleset, Authentication) {
  MailSubject subject = Subject();
  subject.authenticated = true;
  subject.username = "Joe";
  subject.tls = true;
  Check(
      {
          {"from any for any auth", true},
          {"from any for any ! auth", false},
          {"from auth joe for any", true},
          {"from auth jim for any", false},
          {"! from auth jim for any", true},
          {"from auth regex \"^j\" for any", true},
          {"from any for any auth { joe = secret }", true},
          {"from any for any tls", true},
          {"from any for any ! tls", false},
      },
      subject);
  subject.username = "joe@sender.test";
  EXPECT_TRUE(Matches("from auth \"@sender.test\" for any", subject));
  EXPECT_FALSE(Matches("from auth \"@other.test\" for any", subject));
  subject.username = "";  // the local socket
  EXPECT_TRUE(Matches("from auth for any", subject));
  EXPECT_FALSE(Matches("from auth joe for any", subject));
}

TEST(Ruleset, NullSender) {
  MailSubject subject = Subject();
  subject.sender = {};
  EXPECT_TRUE(Matches("from mail-from \"@\" for any", subject));
  EXPECT_TRUE(Matches("from mail-from regex \"^@$\" for any", subject));
  EXPECT_FALSE(Matches("from mail-from \"@sender.test\" for any", subject));
}

TEST(Ruleset, InternalPass) {
  MailSubject subject = Subject();
  subject.internal = true;
  Check(
      {
          {"for any", true},
          {"from any for any", true},
          {"from src 203.0.113.9 for any", false},
          {"from src { \"local\" } for any", true},
          {"from socket for any", false},
          {"from rdns for any", false},
          {"from rdns \"local\" for any", true},
          {"from any for any auth", false},
          {"for any tag \"tag\"", true},
      },
      subject);
  subject.rdns = "<unknown>";
  EXPECT_TRUE(Matches("from rdns \"local\" for any", subject));
}

TEST(Ruleset, TheFirstDecides) {
  const auto config = Parse(
      "match from any for domain dest.test reject\n"
      "match from any for any action yes");
  ASSERT_NE(config, nullptr);
  MailSubject subject = Subject();
  auto found = FirstMatch(*config, subject);
  ASSERT_TRUE(found.ok() && *found != nullptr);
  EXPECT_TRUE((*found)->reject);
  subject.dest.domain = "other.test";
  found = FirstMatch(*config, subject);
  ASSERT_TRUE(found.ok() && *found != nullptr);
  EXPECT_EQ((*found)->action, "yes");
}

TEST(Ruleset, AnErrorEndsTheSearch) {
  const auto config = Parse(
      "match from any for any helo x action yes\n"
      "match from any for any action yes");
  ASSERT_NE(config, nullptr);
  MailSubject subject = Subject();
  subject.helo = std::string(1024, 'x');
  EXPECT_TRUE(absl::IsInvalidArgument(FirstMatch(*config, subject).status()));
}

// One line for each criterion that was looked at.
std::string Trace(const std::string& rules, const MailSubject& subject) {
  const auto config = Parse(rules);
  if (config == nullptr) return "";
  std::vector<RuleTrace> trace;
  (void)FirstMatch(*config, subject, &trace);
  std::string text;
  for (const RuleTrace& rule : trace) {
    absl::StrAppend(&text, RuleText(*rule.rule), "\n");
    for (const CriterionTrace& c : rule.criteria) {
      absl::StrAppend(&text, "  ",
                      !c.answer.ok() ? "error"
                      : *c.answer    ? "yes"
                                     : "no",
                      " ", c.criterion, " [", c.key, "]\n");
    }
    EXPECT_EQ(rule.Matched(), &rule == &trace.back() &&
                                  rule.criteria.back().answer.ok() &&
                                  *rule.criteria.back().answer);
  }
  return text;
}

TEST(Ruleset, ATraceSaysWhy) {
  EXPECT_EQ(Trace("match tag \"other\" for any reject\n"
                  "match action yes\n"
                  "match ! from src { 10.0.0.0/8, 192.0.2.1 } ! for domain "
                  "regex \"^x\" helo \"*.example.net\" ! auth ! tls mail-from "
                  "\"@sender.test\" rcpt-to jim action yes\n"
                  "match from any for any reject\n",
                  Subject()),
            "match tag \"other\" from local for any reject\n"
            "  no tag \"other\" [Tag]\n"
            "match from local for local action \"yes\"\n"
            "  no from local [203.0.113.9]\n"
            "match ! from src { \"10.0.0.0/8\", \"192.0.2.1\" } ! for domain "
            "regex \"^x\" helo \"*.example.net\" ! auth ! tls mail-from "
            "\"@sender.test\" rcpt-to \"jim\" action \"yes\"\n"
            "  yes ! from src { \"10.0.0.0/8\", \"192.0.2.1\" } [203.0.113.9]\n"
            "  yes ! for domain regex \"^x\" [dest.test]\n"
            "  yes helo \"*.example.net\" [Client.Example.NET]\n"
            "  yes ! auth []\n"
            "  yes ! tls []\n"
            "  yes mail-from \"@sender.test\" [joe@sender.test]\n"
            "  yes rcpt-to \"jim\" [jim@dest.test]\n");
}

TEST(Ruleset, ATraceEndsWithAnError) {
  MailSubject subject = Subject();
  subject.internal = true;
  subject.helo = std::string(1024, 'x');
  EXPECT_EQ(Trace("table hosts { a, b }\n"
                  "match for any helo <hosts> action yes\n"
                  "match for any action yes\n",
                  subject),
            "match from local for any helo <hosts> action \"yes\"\n"
            "  yes from local [local]\n"
            "  yes for any [dest.test]\n"
            "  error helo <hosts> [" +
                subject.helo + "]\n");
}

// What a program must say is asked for one by one; every rule sees it.
TEST(Ruleset, TablesOfProgramsAreWaitedFor) {
  const auto config = Parse(
      "table d ldap:/etc/d\ntable r ldap:/etc/r\n"
      "match from any for domain <d> rcpt-to regex <r> action yes\n"
      "match from any for domain <d> reject");
  ASSERT_NE(config, nullptr);
  TableAnswers answers;
  auto found = FirstMatch(*config, Subject(), nullptr, &answers);
  EXPECT_TRUE(absl::IsUnavailable(found.status()));
  ASSERT_TRUE(answers.missing().has_value());
  EXPECT_EQ(answers.missing()->table, "d");
  EXPECT_EQ(answers.missing()->op, TableOp::kCheck);
  EXPECT_EQ(answers.missing()->service, TableService::kDomain);
  EXPECT_EQ(answers.missing()->key, "dest.test");
  answers.Give(std::optional<std::string>(""));

  found = FirstMatch(*config, Subject(), nullptr, &answers);
  ASSERT_TRUE(answers.missing().has_value());
  EXPECT_EQ(answers.missing()->service, TableService::kRegex);
  EXPECT_EQ(answers.missing()->key, "jim@dest.test");
  answers.Give(std::optional<std::string>());

  found = FirstMatch(*config, Subject(), nullptr, &answers);
  EXPECT_FALSE(answers.missing().has_value());
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(*found, &config->rules[1]);
  // Nobody to be asked: no rule wins.
  EXPECT_FALSE(FirstMatch(*config, Subject()).ok());
}

TEST(Ruleset, ErrorOfAProgramEndsTheSearch) {
  const auto config = Parse(
      "table d ldap:/etc/d\nmatch from any for domain <d> action yes\n"
      "match from any for any reject");
  ASSERT_NE(config, nullptr);
  TableAnswers answers;
  FirstMatch(*config, Subject(), nullptr, &answers).IgnoreError();
  answers.Give(absl::InternalError("gone"));
  const auto found = FirstMatch(*config, Subject(), nullptr, &answers);
  EXPECT_FALSE(answers.missing().has_value());
  EXPECT_EQ(found.status().message(), "table \"d\": gone");
}

}  // namespace
}  // namespace holdfast
