// STARTTLS, AUTH, XCLIENT, the extensions and the limits of SmtpServerSession.
// What can go wrong with them is in testdata/hostile.
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/smtp_server_session.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

SmtpServerOptions Options() {
  SmtpServerOptions options;
  options.name = "mx.test";
  return options;
}
SmtpServerOptions AuthOptions() {
  SmtpServerOptions options = Options();
  options.auth = SmtpServerOptions::Auth::kOptional;
  options.auth_in_clear = true;
  options.scram = true;
  return options;
}

// A client whose owner keeps the questions that matter here, and says yes to
// the others.
class Client {
 public:
  explicit Client(SmtpServerOptions options = Options(), bool xclient = false)
      : options_(std::move(options)), session(&options_, "192.0.2.1") {
    session.OfferXclient(xclient);
    session.Greet();
    Say("");
  }

  // What the server answers to `bytes`.
  std::string Say(absl::string_view bytes) {
    const std::string kept(bytes);
    session.Receive(kept);
    Drain();
    session.KeepRest();
    Drain();
    return std::exchange(sent_, {});
  }
  std::string Drain() {
    while (std::optional<SmtpServerEvent> event = session.Next())
      std::visit([this](auto& e) { On(e); }, *event);
    sent_ += session.TakeOutput();
    return sent_;
  }
  std::string Auth(AuthAnswerKind kind, absl::string_view text = {}) {
    session.ResumeAuth(auth.back().question, kind, text);
    Drain();
    return std::exchange(sent_, {});
  }

  std::vector<AuthAsked> auth;
  std::vector<XclientAsked> xclient;
  std::vector<uint64_t> pauses;
  std::vector<ReversePath> senders;
  std::vector<std::string> log;
  std::string message;
  int cancelled = 0;
  bool closed = false;

 private:
  void On(SenderAsked& asked) {
    senders.push_back(asked.path);
    session.Resume(asked.question, replies::Ok());
  }
  void On(RecipientAsked& asked) {
    session.Resume(asked.question, asked.path.address.user == "nobody"
                                       ? Reply{550, "", "No"}
                                       : replies::RecipientOk());
  }
  void On(MessageStarts& asked) {
    message.clear();
    session.Resume(asked.question, replies::StartMail());
  }
  void On(MessageBytes&) { session.ReadMessage(100, &message); }
  void On(MessageEnds& asked) {
    session.Resume(asked.question, replies::Accepted("1"));
  }
  void On(AuthAsked& asked) { auth.push_back(asked); }
  void On(XclientAsked& asked) { xclient.push_back(asked); }
  void On(PauseAsked& asked) { pauses.push_back(asked.question); }
  void On(Greeted&) {}
  void On(TransactionReset&) {}
  void On(CommandFailed& failed) {
    log.push_back(absl::StrCat(failed.command, " -> ", failed.result));
  }
  void On(BadInput&) {}
  void On(StartTlsAsked&) {}
  void On(AuthCancelled&) { ++cancelled; }
  void On(SessionClosed&) { closed = true; }
  void On(FilterAsked&) { ADD_FAILURE(); }
  void On(MessageTextEnds&) { ADD_FAILURE(); }
  void On(FilterTold&) { ADD_FAILURE(); }

  const SmtpServerOptions options_;
  std::string sent_;

 public:
  SmtpServerSession session;
};

std::vector<std::string> Lines(const std::string& reply) {
  return absl::StrSplit(reply, "\r\n", absl::SkipEmpty());
}
std::string Base64(absl::string_view text) { return absl::Base64Escape(text); }

// ---- EHLO

TEST(SmtpServerExtensionsTest, OffersWhatTheReferenceOffersFirst) {
  SmtpServerOptions options = AuthOptions();
  options.tls = SmtpServerOptions::Tls::kOffered;
  options.deliverby_min = absl::Seconds(60);
  options.now = [] { return absl::FromUnixSeconds(1800000000); };
  Client client(options, true);
  EXPECT_THAT(
      Lines(client.Say("EHLO x\r\n")),
      ElementsAre(
          "250-mx.test Hello x [192.0.2.1], pleased to meet you",
          "250-8BITMIME", "250-ENHANCEDSTATUSCODES", "250-SIZE 36700160",
          "250-DSN", "250-STARTTLS", "250-AUTH PLAIN LOGIN SCRAM-SHA-256",
          "250-PIPELINING", "250-CHUNKING", "250-BINARYMIME", "250-SMTPUTF8",
          "250-LIMITS MAILMAX=100 RCPTMAX=1000", "250-MT-PRIORITY",
          "250-DELIVERBY 60", "250-FUTURERELEASE 604800 2027-01-22T08:00:00Z",
          "250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR "
          "DESTPORT",
          "250-XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE", "250 HELP"));
  client.Say("STARTTLS\r\n");
  client.session.OnTlsStarted();
  const std::string inside = client.Say("EHLO x\r\n");
  EXPECT_THAT(inside, HasSubstr("250-REQUIRETLS\r\n"));
  EXPECT_THAT(inside, Not(HasSubstr("STARTTLS")));
  EXPECT_THAT(client.Say("HELO x\r\n"),
              "250 mx.test Hello x [192.0.2.1], pleased to meet you\r\n");
}

TEST(SmtpServerExtensionsTest, EachExtensionCanBeSwitchedOff) {
  struct Switch {
    bool SmtpExtensions::*member;
    const char* line;
  };
  const Switch switches[] = {
      {&SmtpExtensions::eight_bit_mime, "8BITMIME"},
      {&SmtpExtensions::enhanced_status_codes, "ENHANCEDSTATUSCODES"},
      {&SmtpExtensions::pipelining, "PIPELINING"},
      {&SmtpExtensions::size, "SIZE"},
      {&SmtpExtensions::dsn, "DSN"},
      {&SmtpExtensions::smtputf8, "SMTPUTF8"},
      {&SmtpExtensions::chunking, "CHUNKING"},
      {&SmtpExtensions::binarymime, "BINARYMIME"},
      {&SmtpExtensions::limits, "LIMITS"},
      {&SmtpExtensions::requiretls, "REQUIRETLS"},
      {&SmtpExtensions::mt_priority, "MT-PRIORITY"},
      {&SmtpExtensions::deliverby, "DELIVERBY"},
      {&SmtpExtensions::futurerelease, "FUTURERELEASE"},
  };
  for (const Switch& it : switches) {
    SmtpServerOptions options = Options();
    options.tls = SmtpServerOptions::Tls::kWrapped;
    options.now = [] { return absl::UnixEpoch(); };
    EXPECT_THAT(Client(options).Say("EHLO x\r\n"), HasSubstr(it.line));
    options.extensions.*it.member = false;
    EXPECT_THAT(Client(options).Say("EHLO x\r\n"), Not(HasSubstr(it.line)));
  }
  SmtpServerOptions options = Options();
  options.extensions.chunking = false;
  options.extensions.eight_bit_mime = false;
  Client client(options);
  const std::string offered = client.Say("EHLO x\r\n");
  // Each needs another.
  EXPECT_THAT(offered, Not(HasSubstr("BINARYMIME")));
  EXPECT_THAT(offered, Not(HasSubstr("SMTPUTF8")));
  // The octets are skipped all the same.
  EXPECT_EQ(client.Say("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
                       "BDAT 6 LAST\r\nQUIT\r\nRSET\r\n"),
            "250 2.0.0 Ok\r\n"
            "250 2.1.5 Destination address valid: Recipient ok\r\n"
            "503 5.5.1 Invalid command: Command not supported\r\n"
            "250 2.0.0 Reset state\r\n");
  options.extensions.enhanced_status_codes = false;
  EXPECT_EQ(Client(options).Say("NOOP\r\nX\r\nQUIT\r\n"),
            "250 Ok\r\n500 Invalid command: Command unrecognized\r\n"
            "221 Bye\r\n");
}

TEST(SmtpServerExtensionsTest, TheNameOfASessionCanDiffer) {
  SmtpServerOptions options = Options();
  SmtpServerSession session(&options, "[2001:db8::1]");
  session.SetName("other.test");
  session.Greet();
  session.Receive("EHLO x\r\n");
  while (session.Next()) {
  }
  EXPECT_THAT(session.TakeOutput(),
              testing::StartsWith("220 other.test ESMTP Holdfast\r\n"
                                  "250-other.test Hello x [2001:db8::1], "));
}

// ---- STARTTLS

TEST(SmtpServerExtensionsTest, NothingIsReadBetweenStarttlsAndTls) {
  SmtpServerOptions options = Options();
  options.tls = SmtpServerOptions::Tls::kRequired;
  Client client(options);
  EXPECT_EQ(client.Say("EHLO x\r\nMAIL FROM:<a@b>\r\n").substr(0, 4), "250-");
  EXPECT_EQ(client.Say("MAIL FROM:<a@b>\r\n"),
            "530 5.5.1 Invalid command: Must issue a STARTTLS command "
            "first\r\n");
  EXPECT_EQ(client.Say("STARTTLS\r\n"), "220 2.0.0 Ready to start TLS\r\n");
  EXPECT_FALSE(client.session.WantsInput());
  EXPECT_TRUE(client.session.waits_for_answer());
  EXPECT_EQ(client.Say("NOOP\r\n"), "");
  client.session.OnTlsStarted();
  EXPECT_TRUE(client.session.tls());
  EXPECT_TRUE(client.session.WantsInput());
  EXPECT_EQ(client.session.helo(), "");
  EXPECT_EQ(client.Say("NOOP\r\n"), "250 2.0.0 Ok\r\n");
  client.Say("EHLO y\r\n");
  EXPECT_EQ(client.session.helo(), "y");
  EXPECT_EQ(client.Say("MAIL FROM:<a@b> REQUIRETLS\r\n"), "250 2.0.0 Ok\r\n");
  EXPECT_TRUE(client.senders.back().parameters.requiretls);
}

TEST(SmtpServerExtensionsTest, SmtpsIsTlsFromTheBeginning) {
  SmtpServerOptions options = Options();
  options.tls = SmtpServerOptions::Tls::kWrapped;
  options.auth = SmtpServerOptions::Auth::kRequired;
  Client client(options);
  EXPECT_TRUE(client.session.tls());
  EXPECT_THAT(client.Say("EHLO x\r\n"), HasSubstr("250-AUTH PLAIN LOGIN\r\n"));
  EXPECT_EQ(client.Say("STARTTLS\r\n"),
            "503 5.5.1 Invalid command: Command not supported\r\n");
  EXPECT_EQ(client.Say("MAIL FROM:<a@b>\r\n"),
            "530 5.5.1 Invalid command: Must issue an AUTH command first\r\n");
}

TEST(SmtpServerExtensionsTest, StartTlsWaitsForWhoSigns) {
  bool ready = false;
  SmtpServerOptions options = AuthOptions();
  options.tls = SmtpServerOptions::Tls::kOffered;
  options.tls_ready = [&ready] { return ready; };
  Client client(options);
  client.Say("EHLO x\r\n");
  EXPECT_EQ(client.Say("STARTTLS\r\n"),
            "454 4.7.0 TLS not available due to temporary reason\r\n");
  EXPECT_EQ(client.Say("NOOP\r\n"), "250 2.0.0 Ok\r\n");
  ready = true;
  EXPECT_EQ(client.Say("STARTTLS\r\n"), "220 2.0.0 Ready to start TLS\r\n");
}

TEST(SmtpServerExtensionsTest, AuthNeedsTlsUnlessTheListenerSaysOtherwise) {
  SmtpServerOptions options = AuthOptions();
  options.auth_in_clear = false;
  options.tls = SmtpServerOptions::Tls::kOffered;
  Client client(options);
  EXPECT_THAT(client.Say("EHLO x\r\n"), Not(HasSubstr("AUTH")));
  EXPECT_EQ(client.Say("AUTH PLAIN\r\n"),
            "503 5.5.1 Invalid command: Command not supported\r\n");
  client.Say("STARTTLS\r\n");
  client.session.OnTlsStarted();
  EXPECT_THAT(client.Say("EHLO x\r\n"), HasSubstr("AUTH"));
  EXPECT_EQ(client.Say("AUTH PLAIN\r\n"), "334 \r\n");
}

// ---- AUTH

TEST(SmtpServerExtensionsTest, PlainWithAndWithoutInitialResponse) {
  const std::string plain("\0joe\0secret", 11);
  for (const bool initial : {true, false}) {
    Client client(AuthOptions());
    client.Say("EHLO x\r\n");
    if (initial) {
      EXPECT_EQ(client.Say("auth plain " + Base64(plain) + "\r\n"), "");
    } else {
      EXPECT_EQ(client.Say("AUTH PLAIN\r\n"), "334 \r\n");
      EXPECT_FALSE(client.session.in_auth());
      EXPECT_EQ(client.Say(Base64(plain) + "\r\n"), "");
    }
    ASSERT_EQ(client.auth.size(), 1u);
    EXPECT_TRUE(client.auth[0].first);
    EXPECT_EQ(client.auth[0].mechanism, "PLAIN");
    EXPECT_EQ(client.auth[0].response, plain);
    EXPECT_TRUE(client.session.waits_for_answer());
    EXPECT_EQ(client.Auth(AuthAnswerKind::kOk, "joe"),
              "235 2.0.0 Authentication succeeded\r\n");
    EXPECT_TRUE(client.session.authenticated());
    EXPECT_EQ(client.session.username(), "joe");
    EXPECT_THAT(client.Say("EHLO x\r\n"), Not(HasSubstr("AUTH")));
    EXPECT_THAT(client.log, IsEmpty());
  }
}

TEST(SmtpServerExtensionsTest, LoginComesAsPlain) {
  for (const bool initial : {true, false}) {
    Client client(AuthOptions());
    client.Say("EHLO x\r\n");
    if (initial) {
      EXPECT_EQ(client.Say("AUTH LOGIN " + Base64("joe") + "\r\n"),
                "334 UGFzc3dvcmQ6\r\n");
    } else {
      EXPECT_EQ(client.Say("AUTH LOGIN\r\n"), "334 VXNlcm5hbWU6\r\n");
      EXPECT_EQ(client.Say(Base64("joe") + "\r\n"), "334 UGFzc3dvcmQ6\r\n");
    }
    client.Say(Base64("secret") + "\r\n");
    ASSERT_EQ(client.auth.size(), 1u);
    EXPECT_EQ(client.auth[0].mechanism, "PLAIN");
    EXPECT_EQ(client.auth[0].response, std::string("\0joe\0secret", 11));
  }
  // A NUL would move the border between the two.
  Client client(AuthOptions());
  client.Say("EHLO x\r\nAUTH LOGIN\r\n");
  client.Say(Base64(absl::string_view("joe\0x", 5)) + "\r\n");
  EXPECT_EQ(client.Say(Base64("secret") + "\r\n"),
            "501 5.5.2 Syntax error: Syntax error\r\n");
  EXPECT_THAT(client.auth, IsEmpty());
}

TEST(SmtpServerExtensionsTest, ScramGoesInSteps) {
  Client client(AuthOptions());
  client.Say("EHLO x\r\n");
  client.Say("AUTH SCRAM-SHA-256 " + Base64("n,,n=joe,r=abc") + "\r\n");
  ASSERT_EQ(client.auth.size(), 1u);
  EXPECT_TRUE(client.auth[0].first);
  EXPECT_EQ(client.auth[0].mechanism, "SCRAM-SHA-256");
  EXPECT_EQ(client.Auth(AuthAnswerKind::kChallenge, "r=abcdef,s=x,i=4096"),
            "334 " + Base64("r=abcdef,s=x,i=4096") + "\r\n");
  EXPECT_TRUE(client.session.in_auth());
  client.Say(Base64("c=biws,r=abcdef,p=x") + "\r\n");
  ASSERT_EQ(client.auth.size(), 2u);
  EXPECT_FALSE(client.auth[1].first);
  EXPECT_EQ(client.auth[1].response, "c=biws,r=abcdef,p=x");
  EXPECT_EQ(client.Auth(AuthAnswerKind::kChallenge, "v=y"),
            "334 " + Base64("v=y") + "\r\n");
  client.Say("\r\n");
  ASSERT_EQ(client.auth.size(), 3u);
  EXPECT_EQ(client.auth[2].response, "");
  EXPECT_EQ(client.Auth(AuthAnswerKind::kOk, "joe"),
            "235 2.0.0 Authentication succeeded\r\n");
  EXPECT_EQ(client.cancelled, 0);
  EXPECT_FALSE(client.session.in_auth());
}

TEST(SmtpServerExtensionsTest, WhoGivesUpBetweenStepsIsReported) {
  Client client(AuthOptions());
  client.Say("EHLO x\r\nAUTH SCRAM-SHA-256\r\nbg==\r\n");
  client.Auth(AuthAnswerKind::kChallenge, "r=1");
  EXPECT_EQ(client.Say("*\r\n"), "501 5.5.2 Syntax error: Syntax error\r\n");
  EXPECT_EQ(client.cancelled, 1);
  client.Say("AUTH SCRAM-SHA-256 bg==\r\n");
  client.Auth(AuthAnswerKind::kChallenge, "r=1");
  client.session.Close(replies::ShuttingDown());
  client.Drain();
  EXPECT_EQ(client.cancelled, 2);
  EXPECT_TRUE(client.closed);
}

TEST(SmtpServerExtensionsTest, AnswersOfAuthHaveTheirReplies) {
  Client client(AuthOptions());
  client.Say("EHLO x\r\nAUTH PLAIN AGpvZQBzZWNyZXQ=\r\n");
  EXPECT_EQ(client.Auth(AuthAnswerKind::kTemporary),
            "454 4.7.0 Temporary authentication failure\r\n");
  client.Say("AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n");
  EXPECT_EQ(client.Auth(AuthAnswerKind::kMalformed),
            "501 5.5.2 Syntax error: Syntax error\r\n");
  for (int i = 0; i < 2; ++i) {
    client.Say("AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n");
    EXPECT_EQ(client.Auth(AuthAnswerKind::kFailed),
              "535 Authentication failed\r\n");
  }
  // An answer to an old question is none.
  const uint64_t old = client.auth.back().question;
  client.Say("AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n");
  client.session.ResumeAuth(old, AuthAnswerKind::kOk, "joe");
  EXPECT_FALSE(client.session.authenticated());
  EXPECT_EQ(client.Auth(AuthAnswerKind::kFailed),
            "421 4.7.0 Too many failed authentications\r\n");
  EXPECT_TRUE(client.closed);
}

TEST(SmtpServerExtensionsTest, NothingOfAnExchangeReachesTheLog) {
  Client client(AuthOptions());
  client.Say(
      "EHLO x\r\nAUTH LOGIN am9l\r\nzzzsecret\r\nzzzsecret\r\nNOOP\r\n"
      "AUTH DIGEST zzzsecret\r\nzzzsecret\r\nAUTH PLAIN zzzsecret\r\n"
      "zzzsecret\r\nAUTH PLAIN\r\nzzzsecret\r\n");
  EXPECT_EQ(client.log.size(), 7u);
  for (const std::string& line : client.log)
    EXPECT_THAT(line, Not(HasSubstr("zzz")));
  // All else does.
  client.Say("NOOP\r\nplain words\r\n");
  EXPECT_THAT(client.log.back(), HasSubstr("plain words"));
}

TEST(SmtpServerExtensionsTest, TheLocalSocketIsAuthenticated) {
  SmtpServerOptions options = Options();
  options.trusted = true;
  Client client(options);
  EXPECT_TRUE(client.session.authenticated());
  EXPECT_EQ(client.session.username(), "");
  client.Say("EHLO x\r\n");
  EXPECT_EQ(client.Say("AUTH PLAIN\r\n"),
            "503 5.5.1 Invalid command: Already authenticated\r\n");
}

// ---- XCLIENT and XFORWARD

TEST(SmtpServerExtensionsTest, XclientBeginsANewSession) {
  Client client(Options(), true);
  client.Say("EHLO proxy\r\n");
  EXPECT_EQ(client.Say("xclient addr=192.0.2.9 NAME=[TEMPUNAVAIL] PORT=1025 "
                       "login=jo+2Be HELO=client.test PROTO=ESMTP\r\n"),
            "");
  ASSERT_EQ(client.xclient.size(), 1u);
  EXPECT_FALSE(client.xclient[0].forward);
  EXPECT_THAT(
      client.xclient[0].attributes,
      ElementsAre(testing::Pair("ADDR", "192.0.2.9"),
                  testing::Pair("NAME", "[TEMPUNAVAIL]"),
                  testing::Pair("PORT", "1025"), testing::Pair("LOGIN", "jo+e"),
                  testing::Pair("HELO", "client.test"),
                  testing::Pair("PROTO", "ESMTP")));
  client.session.SetClientAddress("192.0.2.9");
  client.session.Resume(client.xclient[0].question, replies::Ok());
  EXPECT_EQ(client.Say(""), "220 mx.test ESMTP Holdfast\r\n");
  EXPECT_EQ(client.session.helo(), "client.test");
  EXPECT_TRUE(client.session.extended());
  EXPECT_TRUE(client.session.authenticated());
  EXPECT_EQ(client.session.username(), "jo+e");
  EXPECT_EQ(client.Say("HELO y\r\n"),
            "250 mx.test Hello y [192.0.2.9], pleased to meet you\r\n");
  client.Say("XCLIENT LOGIN=[UNAVAILABLE]\r\n");
  client.session.Resume(client.xclient[1].question, replies::Ok());
  EXPECT_EQ(client.Say("MAIL FROM:<a@b>\r\n"),
            "220 mx.test ESMTP Holdfast\r\n"
            "503 5.5.1 Invalid command: Command not allowed at this point."
            "\r\n");
  EXPECT_FALSE(client.session.authenticated());
}

TEST(SmtpServerExtensionsTest, XforwardChangesNothing) {
  Client client(Options(), true);
  client.Say("EHLO proxy\r\n");
  client.Say(
      "XFORWARD ADDR=IPV6:2001:db8::1 IDENT=x SOURCE=REMOTE "
      "HELO=not+20a+20name\r\n");
  ASSERT_EQ(client.xclient.size(), 1u);
  EXPECT_TRUE(client.xclient[0].forward);
  client.session.Resume(client.xclient[0].question, replies::Ok());
  EXPECT_EQ(client.Say("MAIL FROM:<a@b>\r\n"),
            "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n");
  EXPECT_EQ(client.session.helo(), "proxy");
  client.Say("RSET\r\n");
  client.Say("XCLIENT ADDR=192.0.2.9\r\n");
  client.session.Resume(client.xclient[1].question, {550, "5.7.0", "No"});
  EXPECT_EQ(client.Say("MAIL FROM:<a@b>\r\n"),
            "550 5.7.0 No\r\n250 2.0.0 Ok\r\n");
}

// ---- Parameters that the session judges

TEST(SmtpServerExtensionsTest, WhoIsNotKnownIsNotPreferred) {
  Client client;
  client.Say("EHLO x\r\n");
  EXPECT_EQ(client.Say("MAIL FROM:<a@b> MT-PRIORITY=3\r\n"),
            "250 2.3.6 0 is the new priority of the message\r\n");
  EXPECT_EQ(client.senders.back().parameters.mt_priority, 0);
  EXPECT_EQ(client.Say("RSET\r\nMAIL FROM:<a@b> MT-PRIORITY=-3\r\n"),
            "250 2.0.0 Reset state\r\n250 2.0.0 Ok\r\n");
  EXPECT_EQ(client.senders.back().parameters.mt_priority, -3);
  SmtpServerOptions options = Options();
  options.trusted = true;
  Client known(options);
  known.Say("EHLO x\r\nMAIL FROM:<a@b> MT-PRIORITY=3\r\n");
  EXPECT_EQ(known.senders.back().parameters.mt_priority, 3);
}

TEST(SmtpServerExtensionsTest, BinaryMimeIsKeptAsItIs) {
  Client client;
  client.Say("EHLO x\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<c@d>\r\n");
  EXPECT_EQ(client.Say("DATA\r\n"),
            "503 5.5.1 Invalid command: Command not allowed at this point."
            "\r\n");
  client.Say("BDAT 8\r\nA: b\r\n\r\n");
  EXPECT_EQ(client.Say(absl::string_view("BDAT 6 LAST\r\n\0\r\r\n.\n", 19)),
            "250 2.0.0 1 Message accepted for delivery\r\n");
  EXPECT_EQ(client.message,
            absl::StrCat("A: b\n\n", absl::string_view("\0\r\r\n.\n", 6)));
}

TEST(SmtpServerExtensionsTest, BareLfsOfTheTrustedBecomeLineEnds) {
  SmtpServerOptions options = AuthOptions();
  options.line_ends = SmtpServerOptions::LineEnds::kNormalise;
  const std::string message =
      "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nA: b\n.\nc: d\r\n.\r\n";
  Client client(options);
  EXPECT_THAT(client.Say("EHLO x\r\n" + message), HasSubstr("\r\n550 5.6.0 "));
  client.Say("AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n");
  client.Auth(AuthAnswerKind::kOk, "joe");
  EXPECT_THAT(client.Say(message), HasSubstr("Message accepted"));
  EXPECT_EQ(client.message, "A: b\n.\nc: d\n");
}

// ---- Limits

TEST(SmtpServerExtensionsTest, ErrorsCostTimeAndThenTheSession) {
  SmtpServerOptions options = Options();
  options.max_errors = 4;
  Client client(options);
  client.Say("EHLO x\r\n");
  client.Say("X\r\nX\r\n");
  EXPECT_THAT(client.pauses, IsEmpty());
  EXPECT_EQ(Lines(client.Say("X\r\nNOOP\r\n")).size(), 1u);
  ASSERT_EQ(client.pauses.size(), 1u);
  EXPECT_FALSE(client.session.WantsInput());
  client.session.Resume(client.pauses[0], replies::Ok());
  EXPECT_EQ(client.Say(""), "250 2.0.0 Ok\r\n");
  EXPECT_EQ(Lines(client.Say("X\r\nNOOP\r\n")),
            (std::vector<std::string>{
                "500 5.5.1 Invalid command: Command unrecognized",
                "421 4.7.0 Too many errors"}));
  EXPECT_TRUE(client.closed);
}

TEST(SmtpServerExtensionsTest, RefusedRecipientsHaveTheirOwnLimit) {
  SmtpServerOptions options = Options();
  options.max_errors = 1;
  options.max_bad_recipients = 2;
  Client client(options);
  client.Say("EHLO x\r\nMAIL FROM:<a@b>\r\n");
  EXPECT_EQ(client.Say("RCPT TO:<nobody@x>\r\nRCPT TO:<c@d>\r\n"),
            "550 No\r\n250 2.1.5 Destination address valid: Recipient ok\r\n");
  EXPECT_EQ(client.Say("RCPT TO:<nobody@x>\r\nRCPT TO:<c@d>\r\n"),
            "550 No\r\n421 4.7.0 Too many refused recipients\r\n");
}

TEST(SmtpServerExtensionsTest, CommandsWithoutAMessageAreCounted) {
  SmtpServerOptions options = Options();
  options.max_commands = 4;
  Client client(options);
  const std::string message =
      "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<c@d>\r\nRCPT TO:<c@d>\r\n"
      "DATA\r\n.\r\n";
  EXPECT_THAT(client.Say("EHLO x\r\n" + message + message + message),
              Not(HasSubstr("421")));
  EXPECT_EQ(client.Say("NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\n"),
            "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n");
  EXPECT_EQ(client.Say("NOOP\r\n"),
            "421 4.7.0 Too many commands without a message\r\n");
}

}  // namespace
}  // namespace holdfast
