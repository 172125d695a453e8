#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "protocol/smtp_client_dialogue.h"

namespace holdfast {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class Watcher : public SmtpClientWatcher {
 public:
  std::vector<std::string> told;
  void OnEvent(const SmtpClientEvent& e) override {
    static const char* const kKinds[] = {
        "C:",   "S:",       "greeting", "identify", "auth",    "mail",
        "rcpt", "rcpt-end", "data",     "commit",   "rollback"};
    static const char* const kResults[] = {"ok", "temp", "perm"};
    std::string line = kKinds[static_cast<int>(e.kind)];
    using Kind = SmtpClientEvent::Kind;
    if (!e.text.empty()) absl::StrAppend(&line, " ", e.text);
    if (e.kind == Kind::kEnvelope || e.kind == Kind::kRcpt)
      absl::StrAppend(&line, " ", e.recipient);
    if (e.kind == Kind::kRcpt || e.kind == Kind::kData || e.kind == Kind::kAuth)
      absl::StrAppend(&line, " ", kResults[static_cast<int>(e.result)]);
    if (e.kind == Kind::kCommit) absl::StrAppend(&line, " ", e.octets);
    told.push_back(line);
  }
};

class SmtpClientWatchTest : public ::testing::Test {
 protected:
  using Server = ScriptedSmtpServer;
  SmtpClientSession::Options Options() {
    SmtpClientSession::Options options{"me.test"};
    options.watcher = &watcher_;
    return options;
  }
  // From the first MAIL on.
  std::vector<std::string> Transactions() const {
    auto first = watcher_.told.begin();
    while (first != watcher_.told.end() && first->substr(0, 7) != "C: MAIL")
      ++first;
    return {first, watcher_.told.end()};
  }
  Watcher watcher_;
};

const std::vector<std::string> kPipelining = {"PIPELINING"};

// However the commands go, they are told as if they went one by one.
TEST_F(SmtpClientWatchTest, AConversation) {
  for (const bool pipelining : {false, true}) {
    watcher_.told.clear();
    SmtpClientDialogue d(Options());
    d.server.extensions = {pipelining ? "PIPELINING" : "HELP", "DSN"};
    d.server.answers["banner"] = {"220 sink.test ESMTP"};
    d.server.answers["RCPT TO:<t@b.test>"] = {"450-4.2.1 Try\r\n450 later"};
    d.to_send = {MessageTo({"a@b.test", "t@b.test"})};
    d.body = "Subject: x\n\n.dot\n";
    d.Run();
    EXPECT_THAT(
        watcher_.told,
        ElementsAre("S: 220 sink.test ESMTP", "greeting sink.test",
                    "C: EHLO me.test", "identify EHLO", "S: 250-me",
                    pipelining ? "S: 250-PIPELINING" : "S: 250-HELP",
                    "S: 250 DSN", "C: MAIL FROM:<from@a.test>",
                    "S: 250 2.0.0 ok", "mail", "C: RCPT TO:<a@b.test>",
                    "rcpt 0", "S: 250 2.0.0 ok", "rcpt-end 0 ok",
                    "C: RCPT TO:<t@b.test>", "rcpt 1", "S: 450-4.2.1 Try",
                    "S: 450 later", "rollback", "rcpt-end 1 temp", "C: DATA",
                    "S: 354 go", "data ok", "C: .", "S: 250 2.0.0 queued",
                    // "Subject: x", an empty line, "..dot", with CRLF.
                    "commit 21", "C: QUIT", "S: 221 bye"));
  }
}

TEST_F(SmtpClientWatchTest, HeloAndAGreetingWithoutAName) {
  SmtpClientDialogue d(Options());
  d.server.answers["banner"] = {"220-some_thing! here\r\n220"};
  d.server.answers["EHLO"] = {"502 what?"};
  d.Run();
  EXPECT_THAT(watcher_.told,
              ElementsAre("S: 220-some_thing! here", "S: 220", "greeting",
                          "C: EHLO me.test", "identify EHLO", "S: 502 what?",
                          "C: HELO me.test", "identify HELO", "S: 250 2.0.0 ok",
                          "C: QUIT", "S: 221 bye"));
}

TEST_F(SmtpClientWatchTest, ARefusedSenderBeginsNothing) {
  for (const bool pipelining : {false, true}) {
    watcher_.told.clear();
    SmtpClientDialogue d(Options());
    d.server.extensions.clear();
    if (pipelining) d.server.extensions = kPipelining;
    d.server.answers["MAIL"] = {"550 no"};
    d.to_send = {MessageTo({"a@b.test"})};
    d.Run();
    for (const char* kind :
         {"mail", "rollback", "rcpt-end 0 perm", "commit 21"})
      EXPECT_THAT(watcher_.told, Not(Contains(kind)));
  }
}

// With the last of them the transaction has ended, once.
TEST_F(SmtpClientWatchTest, AllRecipientsRefused) {
  for (const bool pipelining : {false, true}) {
    watcher_.told.clear();
    SmtpClientDialogue d(Options());
    d.server.extensions.clear();
    if (pipelining) d.server.extensions = kPipelining;
    d.server.answers["RCPT"] = {"550 no", "450 no"};
    d.server.answers["DATA"] = {"554 no"};
    d.to_send = {MessageTo({"a@b.test", "c@b.test"})};
    d.Run();
    std::vector<std::string> told = Transactions();
    std::erase_if(told, [](const std::string& s) { return s[1] == ':'; });
    EXPECT_THAT(told,
                ElementsAre("mail", "rcpt 0", "rollback", "rcpt-end 0 perm",
                            "rcpt 1", "rollback", "rcpt-end 1 temp"));
  }
}

TEST_F(SmtpClientWatchTest, DataOrTheMessageRefused) {
  SmtpClientDialogue d(Options());
  d.server.answers["DATA"] = {"452 full"};
  d.server.answers["dot"] = {"554 spam"};
  d.to_send = {MessageTo({"a@b.test"}), MessageTo({"a@b.test"})};
  d.Run();
  std::vector<std::string> told = Transactions();
  std::erase_if(told, [](const std::string& s) { return s[0] == 'S'; });
  EXPECT_THAT(
      told,
      ElementsAre("C: MAIL FROM:<from@a.test>", "mail", "C: RCPT TO:<a@b.test>",
                  "rcpt 0", "rcpt-end 0 ok", "C: DATA", "data temp", "rollback",
                  "C: RSET", "C: MAIL FROM:<from@a.test>", "mail",
                  "C: RCPT TO:<a@b.test>", "rcpt 0", "rcpt-end 0 ok", "C: DATA",
                  "data ok", "C: .", "rollback", "C: QUIT"));
}

// What was sent is told, also where no answer comes any more; an open
// transaction is given up.
TEST_F(SmtpClientWatchTest, TheConnectionBreaks) {
  SmtpClientDialogue d(Options());
  d.server.answers["RCPT"] = {Server::kClose};
  d.to_send = {MessageTo({"a@b.test"})};
  d.Run();
  EXPECT_THAT(
      Transactions(),
      ElementsAre("C: MAIL FROM:<from@a.test>", "S: 250 2.0.0 ok", "mail",
                  "C: RCPT TO:<a@b.test>", "rcpt 0", "C: DATA", "rollback"));
}

TEST_F(SmtpClientWatchTest, LmtpEndsWithItsLastReply) {
  SmtpClientSession::Options options = Options();
  options.lmtp = true;
  SmtpClientDialogue d(options);
  d.server.answers["dot"] = {"250 ok\r\n550 no"};
  d.to_send = {MessageTo({"a@b.test", "c@b.test"})};
  d.Run();
  EXPECT_THAT(watcher_.told, Contains("identify LHLO"));
  std::vector<std::string> told = Transactions();
  told.erase(told.begin(), std::find(told.begin(), told.end(), "C: ."));
  EXPECT_THAT(told, ElementsAre("C: .", "S: 250 ok", "S: 550 no", "commit 21",
                                "C: QUIT", "S: 221 bye"));
}

TEST_F(SmtpClientWatchTest, ChunksAreTheirCommands) {
  SmtpClientDialogue d(Options());
  d.server.extensions = {"PIPELINING", "CHUNKING", "BINARYMIME"};
  d.to_send = {MessageTo({"a@b.test"})};
  d.to_send[0].flags = kFlagBinaryMime;
  d.body = "Subject: x\n\n" + std::string(70000, 'x');
  d.body_piece = 66000;
  d.Run();
  std::vector<std::string> told = Transactions();
  told.erase(told.begin(),
             std::find(told.begin(), told.end(), "rcpt-end 0 ok"));
  EXPECT_THAT(told, ElementsAre("rcpt-end 0 ok", "data ok", "C: BDAT 66002",
                                "S: 250 2.0.0 queued", "C: BDAT 4012 LAST",
                                "S: 250 2.0.0 queued", "commit 70014",
                                "C: QUIT", "S: 221 bye"));
}

// ---- secrets

TEST_F(SmtpClientWatchTest, SecretsAreMasked) {
  SmtpClientSession::Options options = Options();
  options.secure = options.auth = true;
  struct Case {
    const char* mechanism;
    std::vector<std::string> auth, sasl;
    std::vector<std::string> lines;  // of the client
    const char* result;
  };
  const Case cases[] = {
      {"PLAIN", {}, {}, {"C: AUTH PLAIN ********"}, "auth user ok"},
      {"PLAIN", {"535 no"}, {}, {"C: AUTH PLAIN ********"}, "auth user perm"},
      {"PLAIN",
       {"334 more"},
       {"501 ok"},
       {"C: AUTH PLAIN ********", "C: *"},
       "auth user temp"},
      {"LOGIN",
       {"334 VXNlcm5hbWU6"},
       {"334 UGFzc3dvcmQ6"},
       {"C: AUTH LOGIN", "C: ********", "C: ********"},
       "auth user ok"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.result);
    watcher_.told.clear();
    SmtpClientDialogue d(options);
    d.server.extensions = {absl::StrCat("AUTH ", c.mechanism)};
    d.server.answers["AUTH"].assign(c.auth.begin(), c.auth.end());
    d.server.answers["SASL"].assign(c.sasl.begin(), c.sasl.end());
    d.Run();
    std::vector<std::string> lines;
    for (const std::string& line : watcher_.told)
      if (line[0] == 'C' && line != "C: EHLO me.test" && line != "C: QUIT")
        lines.push_back(line);
    EXPECT_EQ(lines, c.lines);
    EXPECT_THAT(watcher_.told, Contains(c.result));
  }
}

TEST_F(SmtpClientWatchTest, AServerThatRepeatsTheSecretIsMasked) {
  SmtpClientSession::Options options = Options();
  options.secure = options.auth = true;
  SmtpClientDialogue d(options);
  const std::string plain =
      absl::Base64Escape(absl::string_view("\0user\0pencil", 12));
  d.server.extensions = {"AUTH PLAIN"};
  d.server.answers["AUTH"] = {absl::StrCat("501 bad: AUTH PLAIN ", plain)};
  d.Run();
  EXPECT_THAT(watcher_.told, Contains("S: 501 bad: AUTH PLAIN ********"));
  EXPECT_THAT(absl::StrJoin(watcher_.told, "\n"), Not(HasSubstr(plain)));
}

// A line that is no reply ends the session, and is told.
TEST_F(SmtpClientWatchTest, WhatIsNoReply) {
  SmtpClientDialogue d(Options());
  d.server.answers["EHLO"] = {"hello there"};
  d.Run();
  EXPECT_EQ(d.end, "Bad response: hello there");
  EXPECT_EQ(watcher_.told.back(), "S: hello there");
}

}  // namespace
}  // namespace holdfast
