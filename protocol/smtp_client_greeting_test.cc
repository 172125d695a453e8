// STARTTLS and AUTH, before the first transaction.
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/smtp_client_dialogue.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

using Dialogue = SmtpClientDialogue;
using Options = SmtpClientSession::Options;
using Tls = SmtpClientSession::Tls;

Options WithTls(Tls tls) {
  Options options = {"me.test"};
  options.tls = tls;
  return options;
}

Options WithAuth() {
  Options options = {"me.test"};
  options.secure = options.auth = true;
  return options;
}

TEST(SmtpClientTlsTest, EhloIsSaidAgainAndAllElseForgotten) {
  for (const Tls tls : {Tls::kOpportunistic, Tls::kRequired}) {
    Dialogue d(WithTls(tls));
    d.server.extensions = {"STARTTLS", "SIZE 5", "DSN", "AUTH PLAIN",
                           "LIMITS MAILMAX=1"};
    d.server.extensions_in_tls = {"PIPELINING"};
    d.to_send = {MessageTo({"a@b.test"})};
    EXPECT_FALSE(d.session->secure());
    d.Run();
    EXPECT_EQ(d.handshakes, 1);
    EXPECT_TRUE(d.session->secure());
    EXPECT_FALSE(d.session->extensions().auth);
    EXPECT_EQ(d.session->extensions().mail_max, 0u);
    EXPECT_THAT(d.server.commands(),
                ElementsAre("EHLO me.test", "STARTTLS", "EHLO me.test",
                            "MAIL FROM:<from@a.test>", "RCPT TO:<a@b.test>",
                            "DATA", ".", "QUIT"));
    EXPECT_THAT(d.results, ElementsAre("Ok 250 2.0.0 queued"));
    EXPECT_FALSE(d.session->failed_in_starttls());
  }
}

TEST(SmtpClientTlsTest, TheThreePolicies) {
  struct Case {
    Tls tls;
    bool offered;
    const char* answer;  // null: 220
    int handshakes;
    const char* end;  // "": the message was sent
  };
  const Case cases[] = {
      {Tls::kNever, true, nullptr, 0, ""},
      {Tls::kOpportunistic, false, nullptr, 0, ""},
      {Tls::kOpportunistic, true, nullptr, 1, ""},
      {Tls::kOpportunistic, true, "454 4.7.0 not now", 0, ""},
      {Tls::kOpportunistic, true, "502 5.5.1 what?", 0, ""},
      {Tls::kOpportunistic, true, "354 ?", 0, ""},
      {Tls::kRequired, true, nullptr, 1, ""},
      {Tls::kRequired, false, nullptr, 0,
       "TLS required but not supported by remote host"},
      {Tls::kRequired, true, "454 4.7.0 not now", 0,
       "STARTTLS rejected: 454 4.7.0 not now"},
      {Tls::kRequired, true, "421 bye", 0, "STARTTLS rejected: 421 bye"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(absl::StrCat(int(c.tls), c.offered, c.end));
    Dialogue d(WithTls(c.tls));
    if (c.offered) d.server.extensions.push_back("STARTTLS");
    if (c.answer != nullptr) d.server.answers["STARTTLS"] = {c.answer};
    d.to_send = {MessageTo({"a@b.test"})};
    d.Run();
    EXPECT_EQ(d.end, c.end);
    EXPECT_EQ(d.handshakes, c.handshakes);
    EXPECT_EQ(d.server.messages().size(), *c.end == '\0' ? 1u : 0u);
  }
}

TEST(SmtpClientTlsTest, HeloIsNoWayAroundTls) {
  for (const Tls tls : {Tls::kOpportunistic, Tls::kRequired}) {
    Dialogue d(WithTls(tls));
    d.server.answers["EHLO"] = {"502 what?"};
    d.to_send = {MessageTo({"a@b.test"})};
    d.Run();
    EXPECT_EQ(d.end, tls == Tls::kRequired ? "EHLO rejected: 502 what?" : "");
  }
}

TEST(SmtpClientTlsTest, WhatComesWithTheGoAheadIsNotBelieved) {
  for (const char* injected :
       {"250 injected", "250-me\r\n250-AUTH PLAIN\r\n250 X", "2", "\r\n"}) {
    for (const Tls tls : {Tls::kOpportunistic, Tls::kRequired}) {
      Dialogue d(WithTls(tls));
      d.server.extensions = {"STARTTLS"};
      d.server.answers["STARTTLS"] = {absl::StrCat("220 go\r\n", injected)};
      d.to_send = {MessageTo({"a@b.test"})};
      d.Run();
      EXPECT_EQ(d.end, "Remote host sent too much data");
      EXPECT_EQ(d.handshakes, 0);
      EXPECT_TRUE(d.session->failed_in_starttls());
      EXPECT_THAT(d.server.messages(), IsEmpty());
    }
  }
  // ... nor what comes in clear a little later.
  class Slow : public Dialogue {
   public:
    using Dialogue::Dialogue;
    void OnStartTls() override { ++handshakes; }
  } slow(WithTls(Tls::kRequired));
  slow.server.extensions = {"STARTTLS"};
  slow.Run();
  EXPECT_EQ(slow.handshakes, 1);
  slow.session->Receive("250 x\r\n");
  EXPECT_EQ(slow.end, "Remote host sent too much data");
}

TEST(SmtpClientTlsTest, FailuresOfStartTlsAreToldFromOthers) {
  struct Case {
    const char* kind;
    const char* answer;
    bool tls_works;
    bool failed;
  };
  const Case cases[] = {
      {"STARTTLS", "(close)", true, true},
      {"STARTTLS", "(silence)", true, true},
      {"STARTTLS", "421 4.7.0 bye", true, true},
      {"STARTTLS", "junk", true, true},
      {"STARTTLS", "220 go", false, true},
      {"EHLO", "(close)", true, false},
      {"EHLO/TLS", "(close)", true, true},
      {"EHLO/TLS", "421 4.7.0 bye", true, false},
      {"MAIL", "(close)", true, false},
  };
  for (const Case& c : cases) {
    Dialogue d(WithTls(Tls::kOpportunistic));
    d.server.extensions.push_back("STARTTLS");
    d.server.answers[c.kind] = {c.answer};
    d.tls_works = c.tls_works;
    d.to_send = {MessageTo({"a@b.test"})};
    d.Run();
    if (!d.session->over()) d.Timeout();
    EXPECT_EQ(d.session->failed_in_starttls(), c.failed) << c.kind << c.answer;
    EXPECT_THAT(d.server.messages(), IsEmpty());
  }
}

TEST(SmtpClientTlsTest, RequireTlsGoesOnceTheServerIsVerified) {
  for (const bool verified : {true, false}) {
    Dialogue d(WithTls(Tls::kRequired));
    d.server.extensions = {"STARTTLS"};
    d.server.extensions_in_tls = {"REQUIRETLS"};
    d.tls_verifies = verified;
    SmtpTransaction t = MessageTo({"a@b.test"});
    t.flags = kFlagRequireTls;
    d.to_send = {t};
    d.Run();
    EXPECT_THAT(d.results,
                ElementsAre(verified ? "Ok 250 2.0.0 queued"
                                     : "Perm REQUIRETLS support required"));
  }
}

TEST(SmtpClientTlsTest, QuitInTheMiddleEndsAtOnce) {
  class Changed : public Dialogue {
   public:
    using Dialogue::Dialogue;
    void OnStartTls() override { session->Quit(); }
  } d(WithTls(Tls::kOpportunistic));
  d.server.extensions = {"STARTTLS"};
  d.Run();
  EXPECT_EQ(d.end, "");
  EXPECT_THAT(d.server.commands(), ElementsAre("EHLO me.test", "STARTTLS"));
}

// ---- AUTH

std::string FakeMac(absl::string_view key, absl::string_view text) {
  return absl::StrCat(key, "/", text);
}
const SaslCrypto kFakeCrypto = {{}, FakeMac, nullptr};

std::string B64(absl::string_view text) { return absl::Base64Escape(text); }

TEST(SmtpClientAuthTest, TheExchanges) {
  const std::string plain = B64(absl::string_view("\0user\0pencil", 12));
  const std::string bearer = B64("user=user\1auth=Bearer tok\1\1");
  struct Case {
    const char* offered;
    const char* secret;
    std::vector<std::string> auth, sasl;  // answers
    std::vector<std::string> commands;    // behind EHLO, before MAIL
  };
  const Case cases[] = {
      {"LOGIN PLAIN", "pencil", {}, {}, {"AUTH PLAIN " + plain}},
      {"CRAM-MD5 login",
       "pencil",
       {"334 VXNlcm5hbWU6"},
       {"334 UGFzc3dvcmQ6"},
       {"AUTH LOGIN", B64("user"), B64("pencil")}},
      {"LOGIN",
       "pencil",
       {"334 not base64!"},
       {"334"},
       {"AUTH LOGIN", B64("user"), B64("pencil")}},
      {"GSSAPI CRAM-MD5",
       "pencil",
       {"334 " + B64("<1@x>")},
       {},
       {"AUTH CRAM-MD5", B64("user 70656e63696c2f3c3140783e")}},
      {"PLAIN XOAUTH2", "Bearer tok", {}, {}, {"AUTH XOAUTH2 " + bearer}},
  };
  for (const Case& c : cases) {
    Options options = WithAuth();
    options.crypto = &kFakeCrypto;
    Dialogue d(options);
    d.server.extensions = {absl::StrCat("AUTH ", c.offered), "PIPELINING"};
    d.server.answers["AUTH"].assign(c.auth.begin(), c.auth.end());
    d.server.answers["SASL"].assign(c.sasl.begin(), c.sasl.end());
    d.credentials.secret = c.secret;
    d.to_send = {MessageTo({"a@b.test"})};
    d.Run();
    std::vector<std::string> commands = d.server.commands();
    ASSERT_GT(commands.size(), c.commands.size() + 1) << c.offered;
    EXPECT_EQ(commands[c.commands.size() + 1], "MAIL FROM:<from@a.test>");
    commands.erase(commands.begin());
    commands.resize(c.commands.size());
    EXPECT_EQ(commands, c.commands);
    EXPECT_THAT(d.results, ElementsAre("Ok 250 2.0.0 queued"));
  }
}

TEST(SmtpClientAuthTest, WhatDoesNotWork) {
  struct Case {
    const char* offered;  // null: no AUTH
    ClientCredentials credentials;
    const char* answer;  // null: 235
    const char* end;
  };
  const ClientCredentials good = {"user", "pencil"};
  const std::string long_text(kMaxCredentialBytes, 'x');
  const Case cases[] = {
      {nullptr, good, nullptr, "AUTH not advertised"},
      {"", good, nullptr, "no supported AUTH method"},
      {"GSSAPI", good, nullptr, "no supported AUTH method"},
      // Without cryptography.
      {"SCRAM-SHA-256 CRAM-MD5", good, nullptr, "no supported AUTH method"},
      {"PLAIN LOGIN",
       {"user", "Bearer t"},
       nullptr,
       "no supported AUTH method"},
      {"XOAUTH2", good, nullptr, "no supported AUTH method"},
      {"PLAIN", {"user", long_text}, nullptr, "Credentials too large"},
      {"PLAIN",
       {std::string("us\0er", 5), "x"},
       nullptr,
       "Invalid credentials"},
      {"PLAIN", {"user", "x\r\nMAIL"}, nullptr, "Invalid credentials"},
      {"PLAIN", {"", "x"}, nullptr, "Invalid credentials"},
      {"PLAIN", {"user", ""}, nullptr, "Invalid credentials"},
      {"PLAIN", good, "535 5.7.8 no", "AUTH rejected: 535 5.7.8 no"},
      {"PLAIN", good, "454 4.7.0 later", "AUTH rejected: 454 4.7.0 later"},
      {"PLAIN", good, "421 bye", "AUTH rejected: 421 bye"},
      {"PLAIN", good, "334 more", "AUTH failed: unexpected challenge"},
      {"PLAIN", good, "354 more", "AUTH rejected: 354 more"},
  };
  for (const Case& c : cases) {
    Dialogue d(WithAuth());
    d.server.extensions.clear();
    if (c.offered != nullptr)
      d.server.extensions = {absl::StrCat("AUTH ", c.offered)};
    if (c.answer != nullptr) d.server.answers["AUTH"] = {c.answer};
    d.credentials = c.credentials;
    d.to_send = {MessageTo({"a@b.test"})};
    d.Run();
    EXPECT_EQ(d.end, c.end);
    EXPECT_THAT(d.server.messages(), IsEmpty());
    EXPECT_THAT(d.results, IsEmpty());
  }
}

TEST(SmtpClientAuthTest, NeverInClearText) {
  for (const Tls tls : {Tls::kNever, Tls::kOpportunistic}) {
    Options options = WithTls(tls);
    options.auth = true;
    Dialogue d(options);
    d.server.extensions = {"AUTH PLAIN", "STARTTLS"};
    d.server.answers["STARTTLS"] = {"454 no"};
    d.Run();
    EXPECT_EQ(d.end, "Refuse to AUTH over insecure channel");
    for (const std::string& command : d.server.commands())
      EXPECT_THAT(command, Not(HasSubstr("AUTH")));
  }
  // Once the channel is secure, what counts is what is offered there.
  Options options = WithTls(Tls::kRequired);
  options.auth = true;
  Dialogue d(options);
  d.server.extensions = {"STARTTLS", "AUTH PLAIN"};
  d.server.extensions_in_tls = {"PIPELINING"};
  d.Run();
  EXPECT_EQ(d.end, "AUTH not advertised");
  Dialogue refused(options);
  refused.server.answers["EHLO"] = {"502 no"};
  refused.Run();
  EXPECT_EQ(refused.end, "EHLO rejected: 502 no");
}

TEST(SmtpClientAuthTest, ALongResponseWaitsForTheServer) {
  Dialogue d(WithAuth());
  d.server.extensions = {"AUTH XOAUTH2"};
  d.credentials.secret = "Bearer " + std::string(1000, 't');
  d.server.answers["AUTH"] = {"334 "};
  d.Run();
  EXPECT_EQ(d.server.commands().at(1), "AUTH XOAUTH2");
  EXPECT_EQ(d.server.commands().at(2),
            B64("user=user\1auth=" + d.credentials.secret + "\1\1"));
  EXPECT_EQ(d.end, "");
  for (const std::string& line : d.writes)
    EXPECT_LE(line.size(), kMaxAuthLineBytes);
}

TEST(SmtpClientAuthTest, ATokenThatIsRefusedIsAnsweredByAnEmptyLine) {
  for (const char* end : {"535 5.7.8 expired", "235 welcome"}) {
    Dialogue d(WithAuth());
    d.server.extensions = {"AUTH XOAUTH2"};
    d.credentials.secret = "Bearer t";
    d.server.answers["AUTH"] = {"334 " + B64("{\"status\":\"400\"}")};
    d.server.answers["SASL"] = {end};
    d.to_send = {MessageTo({"a@b.test"})};
    d.Run();
    EXPECT_EQ(d.server.commands().at(2), "");
    EXPECT_EQ(d.end, *end == '5' ? "AUTH rejected: 535 5.7.8 expired"
                                 : "AUTH failed: accepted after an error");
  }
}

TEST(SmtpClientAuthTest, TheSecretIsNotRepeatedInErrors) {
  Dialogue d(WithAuth());
  const std::string plain = B64(absl::string_view("\0user\0pencil", 12));
  d.server.extensions = {"AUTH PLAIN"};
  d.server.answers["AUTH"] = {absl::StrCat("501 bad: AUTH PLAIN ", plain)};
  d.Run();
  EXPECT_EQ(d.end, "AUTH rejected: 501 bad: AUTH PLAIN ...");
}

TEST(SmtpClientAuthTest, CredentialsMayComeLater) {
  class Later : public Dialogue {
   public:
    using Dialogue::Dialogue;
    void OnAuthWanted() override {}
  };
  Later d(WithAuth());
  d.server.extensions = {"AUTH PLAIN"};
  d.to_send = {MessageTo({"a@b.test"})};
  d.Run();
  EXPECT_THAT(d.server.commands(), ElementsAre("EHLO me.test"));
  d.session->Authenticate({"user", "pencil"});
  d.Go();
  EXPECT_THAT(d.results, ElementsAre("Ok 250 2.0.0 queued"));
  // A server that speaks meanwhile is not believed.
  Later early(WithAuth());
  early.server.extensions = {"AUTH PLAIN"};
  early.Run();
  early.session->Receive("235 welcome\r\n");
  EXPECT_EQ(early.end, "Remote host sent too much data");
  early.session->Authenticate({"user", "pencil"});
  EXPECT_TRUE(early.session->output().empty());
}

}  // namespace
}  // namespace holdfast
