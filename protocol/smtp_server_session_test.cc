#include "protocol/smtp_server_session.h"

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;

SmtpServerOptions Options() {
  SmtpServerOptions options;
  options.name = "mx.test";
  options.max_message_size = 1000;
  options.max_recipients = 3;
  options.max_messages = 3;
  options.max_errors = 0;
  options.bare_lf_commands = true;
  return options;
}

// A client and an owner that answers questions as testdata/smtp/README.md says.
class TestSession {
 public:
  explicit TestSession(SmtpServerOptions options = Options())
      : options_(std::move(options)), session_(&options_, "192.0.2.1") {
    session_.Greet();
    Pump();
  }

  void Send(absl::string_view bytes) {
    // What Receive() was given is gone after KeepRest().
    std::string volatile_copy(bytes);
    session_.Receive(volatile_copy);
    Pump();
    session_.KeepRest();
    volatile_copy.assign(volatile_copy.size(), '!');
    Pump();
  }
  void SendByteByByte(absl::string_view bytes) {
    for (const char c : bytes) Send(absl::string_view(&c, 1));
  }

  std::string TakeSent() { return std::exchange(sent_, std::string()); }
  const std::vector<std::string>& accepted() const { return accepted_; }
  const std::vector<std::string>& failed() const { return failed_; }
  const std::string& bad_input() const { return bad_input_; }
  bool closed() const { return closed_; }
  SmtpServerSession& session() { return session_; }

  // Lets the answers to recipients wait.
  bool hold_recipients = false;
  std::vector<RecipientAsked> held;
  std::function<void()> on_message_bytes;
  std::vector<AuthAsked> auth;
  std::vector<XclientAsked> xclient;
  std::vector<uint64_t> pauses;
  int tls_asked = 0;
  int auth_cancelled = 0;

  void Pump() {
    do {
      Drain();
      if (!hold_recipients) AnswerRecipients();
    } while (Drain());
  }

  void AnswerRecipients() {
    // The slow ones last.
    std::stable_sort(held.begin(), held.end(),
                     [](auto& a, auto& b) { return IsSlow(a) < IsSlow(b); });
    for (RecipientAsked& asked : std::exchange(held, {})) {
      const MailAddress& rcpt = asked.path.address;
      session_.Resume(
          asked.question,
          rcpt.user == "nobody"
              ? RefusalFromText(absl::StrCat("550 Invalid recipient: <",
                                             rcpt.ToString(), ">"),
                                550)
              : replies::RecipientOk());
    }
  }

 private:
  static bool IsSlow(const RecipientAsked& asked) {
    return absl::StartsWith(asked.path.address.user, "slow-");
  }
  bool Drain() {
    bool any = false;
    for (;;) {
      std::optional<SmtpServerEvent> event = session_.Next();
      if (!event && !session_.OutputIsFull()) break;
      if (event) std::visit([this](auto& e) { On(e); }, *event);
      any = true;
      sent_ += session_.TakeOutput();
    }
    sent_ += session_.TakeOutput();
    return any;
  }
  void On(SenderAsked& asked) {
    session_.Resume(asked.question, replies::Ok());
  }
  void On(RecipientAsked& asked) { held.push_back(std::move(asked)); }
  void On(MessageStarts& asked) {
    message_.clear();
    session_.Resume(asked.question, replies::StartMail());
  }
  void On(MessageBytes&) {
    if (on_message_bytes) on_message_bytes();
    session_.ReadMessage(7, &message_);
  }
  void On(MessageEnds& asked) {
    accepted_.push_back(message_);
    session_.Resume(asked.question, replies::Accepted("30e4722c"));
  }
  void On(Greeted&) {}
  void On(TransactionReset&) { message_.clear(); }
  void On(CommandFailed& failed) {
    failed_.push_back(absl::StrCat(failed.command, " -> ", failed.result));
  }
  void On(AuthAsked& asked) { auth.push_back(std::move(asked)); }
  void On(XclientAsked& asked) { xclient.push_back(std::move(asked)); }
  void On(PauseAsked& asked) { pauses.push_back(asked.question); }
  void On(StartTlsAsked&) { ++tls_asked; }
  void On(AuthCancelled&) { ++auth_cancelled; }
  void On(BadInput& bad) { bad_input_ = bad.result; }
  void On(SessionClosed&) { closed_ = true; }
  // Without filters nobody is asked or told.
  void On(FilterAsked&) { ADD_FAILURE(); }
  void On(MessageTextEnds&) { ADD_FAILURE(); }
  void On(FilterTold&) { ADD_FAILURE(); }

  SmtpServerOptions options_;
  SmtpServerSession session_;
  std::string sent_;
  std::string message_;
  std::vector<std::string> accepted_;
  std::vector<std::string> failed_;
  std::string bad_input_;
  bool closed_ = false;
};

// ---- Recorded dialogues

std::string Unescape(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out.push_back(text[i]);
      continue;
    }
    switch (text[++i]) {
      case 'r':
        out.push_back('\r');
        break;
      case 'n':
        out.push_back('\n');
        break;
      case 't':
        out.push_back('\t');
        break;
      case 'v':
        out.push_back('\v');
        break;
      case '0':
        out.push_back('\0');
        break;
      case 'x':
        out.push_back(static_cast<char>(
            std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16)));
        i += 2;
        break;
      default:
        out.push_back(text[i]);
    }
  }
  return out;
}

bool MatchesGlob(absl::string_view line, absl::string_view glob) {
  const size_t star = glob.find('*');
  if (star == glob.npos) return line == glob;
  return absl::StartsWith(line, glob.substr(0, star));
}

void RunDialogue(const std::string& text, bool byte_by_byte) {
  TestSession client;
  std::string to_send;
  std::vector<std::string> answered;
  const auto flush = [&] {
    if (to_send.empty()) return;
    byte_by_byte ? client.SendByteByByte(to_send) : client.Send(to_send);
    to_send.clear();
  };
  const auto take_answers = [&] {
    flush();
    for (const auto line :
         absl::StrSplit(client.TakeSent(), "\r\n", absl::SkipEmpty()))
      answered.emplace_back(line);
  };
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (line.empty() || line[0] == '#') continue;
    const absl::string_view kind = line.substr(0, 2);
    absl::string_view rest = line.substr(2);
    absl::ConsumePrefix(&rest, " ");
    SCOPED_TRACE(std::string(line));
    if (kind == "C:" || kind == "C|") {
      if (to_send.empty()) {
        take_answers();
        EXPECT_THAT(answered, ElementsAre()) << "unexpected answers";
        answered.clear();
      }
      to_send += kind == "C:" ? absl::StrCat(rest, "\r\n") : Unescape(rest);
    } else if (kind == "S:") {
      if (answered.empty()) take_answers();
      ASSERT_FALSE(answered.empty()) << "no answer";
      EXPECT_TRUE(MatchesGlob(answered.front(), rest))
          << "answered: " << answered.front();
      answered.erase(answered.begin());
    } else if (kind == "M:") {
      flush();
      ASSERT_FALSE(client.accepted().empty());
      EXPECT_EQ(client.accepted().back(), Unescape(rest));
    } else if (kind == "X:") {
      EXPECT_TRUE(client.closed());
    } else {
      FAIL() << "what is this?";
    }
  }
  take_answers();
  EXPECT_THAT(answered, ElementsAre()) << "unexpected answers";
}

TEST(SmtpServerSessionTest, AnswersAsInTheDialogues) {
  int dialogues = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator("testdata/smtp")) {
    if (entry.path().extension() != ".smtp") continue;
    SCOPED_TRACE(entry.path().string());
    std::ifstream file(entry.path());
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    RunDialogue(text, false);
    RunDialogue(text, true);
    ++dialogues;
  }
  EXPECT_GE(dialogues, 10);
}

// ---- Smuggling (RFC 5321 section 2.3.8 and 4.1.1.4)

std::vector<std::string> SmugglingSequences() {
  using namespace std::string_literals;
  return {"\n.\n"s,
          "\n.\r\n"s,
          "\n.\r"s,
          "\r.\n"s,
          "\r.\r"s,
          "\r.\r\n"s,
          "\r\n.\n"s,
          "\r\n.\r"s,
          "\r\n\0.\r\n"s,
          "\r\n.\0\r\n"s,
          "\r\n.\r\0\n"s,
          "\r\0\n.\r\n"s,
          "\0"s,
          "\r\r\n.\r\r\n"s,
          "\r\n.\r\r\n"s,
          "\r\n. \r\n"s,
          "\r\n.\t\r\n"s,
          "\r\n.\v\r\n"s,
          "\r\n.\xc2\x85\r\n"s,
          "\n\n.\n\n"s};
}

std::string SmugglingAttempt(const std::string& sequence) {
  return absl::StrCat(
      "HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<joe@x>\r\nDATA\r\n"
      "Subject: outer\r\n\r\nouter",
      sequence,
      "MAIL FROM:<admin@x>\r\nRCPT TO:<victim@x>\r\nDATA\r\n"
      "Subject: inner\r\n\r\ninner\r\n.\r\nQUIT\r\n");
}

std::string SmugglingResult(absl::string_view first, absl::string_view second) {
  TestSession client;
  client.Send(first);
  if (!second.empty()) client.Send(second);
  EXPECT_TRUE(client.closed());
  return absl::StrCat(client.TakeSent(), "accepted ", client.accepted().size());
}

TEST(SmtpServerSessionTest, OnlyCrlfDotCrlfEndsAMessage) {
  const std::string opening =
      "220 mx.test ESMTP Holdfast\r\n"
      "250 mx.test Hello x [192.0.2.1], pleased to meet you\r\n"
      "250 2.0.0 Ok\r\n"
      "250 2.1.5 Destination address valid: Recipient ok\r\n"
      "354 Enter mail, end with \".\" on a line by itself\r\n";
  int clean = 0;
  for (const std::string& sequence : SmugglingSequences()) {
    const std::string attempt = SmugglingAttempt(sequence);
    // The dot with blanks behind it is text; all others are refused.
    const bool text =
        absl::StrContains(sequence, "\r\n.") &&
        sequence.find_first_of(std::string(" \t\v\x85")) != std::string::npos;
    const std::string expected = absl::StrCat(
        opening,
        text ? "250 2.0.0 30e4722c Message accepted for delivery"
             : "550 5.6.0 Other/Undefined media error: Message has a bare CR, "
               "a bare LF or a NUL",
        "\r\n221 2.0.0 Bye\r\naccepted ", text ? 1 : 0);
    clean += text;
    SCOPED_TRACE(testing::PrintToString(sequence));
    EXPECT_EQ(SmugglingResult(attempt, ""), expected);
    for (size_t cut = 1; cut < attempt.size(); ++cut) {
      ASSERT_EQ(SmugglingResult(attempt.substr(0, cut), attempt.substr(cut)),
                expected)
          << "cut at " << cut;
    }
  }
  EXPECT_EQ(clean, 4);
}

// ---- What dialogues cannot say

TEST(SmtpServerSessionTest, AsksForPipelinedRecipientsTogether) {
  TestSession client;
  client.hold_recipients = true;
  client.Send(
      "HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<1@x>\r\nRCPT TO:<nobody@x>\r\n"
      "RCPT TO:<2@x>\r\nDATA\r\n");
  ASSERT_EQ(client.held.size(), 3u);
  EXPECT_TRUE(absl::EndsWith(client.TakeSent(), "250 2.0.0 Ok\r\n"));

  // Answers come in another order, replies don't.
  const uint64_t first = client.held[0].question;
  const uint64_t second = client.held[1].question;
  const uint64_t third = client.held[2].question;
  client.session().Resume(third, replies::RecipientOk());
  client.session().Resume(second, RefusalFromText("550 No", 550));
  client.Pump();
  EXPECT_EQ(client.TakeSent(), "");
  client.session().Resume(first, replies::RecipientOk());
  client.Pump();
  EXPECT_EQ(client.TakeSent(),
            "250 2.1.5 Destination address valid: Recipient ok\r\n"
            "550 No\r\n"
            "250 2.1.5 Destination address valid: Recipient ok\r\n"
            "354 Enter mail, end with \".\" on a line by itself\r\n");
  // A second answer to a question is ignored.
  client.session().Resume(first, replies::NoRoom());
  client.Pump();
  EXPECT_EQ(client.TakeSent(), "");
}

TEST(SmtpServerSessionTest, AsksForABoundedNumberOfRecipients) {
  SmtpServerOptions options = Options();
  options.max_recipients = 100000;
  TestSession client(options);
  client.hold_recipients = true;
  client.Send("HELO x\r\nMAIL FROM:<a@b>\r\n");
  for (int i = 0; i < 1000; ++i) client.Send("RCPT TO:<joe@x>\r\n");
  EXPECT_EQ(client.held.size(), kMaxOpenRecipients);
}

TEST(SmtpServerSessionTest, LogsFailuresWithTheirCommand) {
  TestSession client;
  client.Send("FOO bar\r\nHELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<nobody@x>\r\n");
  EXPECT_THAT(
      client.failed(),
      ElementsAre("FOO bar -> 500 5.5.1 Invalid command: Command unrecognized",
                  "RCPT TO:<nobody@x> -> 550 Invalid recipient: <nobody@x>"));
}

TEST(SmtpServerSessionTest, ARefusedMessageIsLoggedAsData) {
  TestSession client;
  client.Send(
      "HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<joe@x>\r\nDATA\r\na\nb\r\n.\r\n");
  EXPECT_THAT(client.failed(),
              ElementsAre("DATA -> 550 5.6.0 Other/Undefined media error: "
                          "Message has a bare CR, a bare LF or a NUL"));
}

TEST(SmtpServerSessionTest, ACommandHasAtMost2047Octets) {
  TestSession client;
  client.Send(std::string(2047, 'x') + "\r\n");
  EXPECT_TRUE(absl::EndsWith(client.TakeSent(), "Command unrecognized\r\n"));
  client.Send(std::string(2048, 'x') + "\r\n");
  EXPECT_EQ(client.TakeSent(), "500 5.0.0 Command line too long\r\n");
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(client.bad_input(), "500 5.0.0 Command line too long");
}

TEST(SmtpServerSessionTest, AnEndlessCommandEndsTheSessionAtTheLimit) {
  TestSession client;
  client.TakeSent();
  size_t sent = 0;
  while (!client.closed() && sent < 100000) {
    client.Send("xxxxxxxxxx");
    sent += 10;
  }
  EXPECT_LT(sent, 2100u);
  EXPECT_EQ(client.TakeSent(), "500 5.0.0 Command line too long\r\n");
}

TEST(SmtpServerSessionTest, ALongDataLineIsRefusedAtTheEnd) {
  SmtpServerOptions options = Options();
  options.max_message_size = 1 << 20;
  TestSession client(options);
  client.Send("HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<joe@x>\r\nDATA\r\n");
  client.TakeSent();
  client.Send(
      absl::StrCat("A: ", std::string(70000, 'x'), "\r\n.\r\nNOOP\r\n"));
  EXPECT_EQ(client.TakeSent(), "500 5.0.0 Line too long\r\n250 2.0.0 Ok\r\n");
}

TEST(SmtpServerSessionTest, TheOwnerMayRefuseAMessageThatIsOnItsWay) {
  TestSession client;
  client.Send(
      "HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<joe@x>\r\nDATA\r\na: b\r\n");
  client.TakeSent();
  client.session().RefuseMessage(replies::NoRoom());
  client.Send("c: d\r\n");
  EXPECT_EQ(client.TakeSent(), "");
  client.Send(".\r\nNOOP\r\n");
  EXPECT_EQ(client.TakeSent(),
            "452 4.3.1 Mail system full: Please try again later\r\n"
            "250 2.0.0 Ok\r\n");
  EXPECT_TRUE(client.accepted().empty());
}

TEST(SmtpServerSessionTest, A421EndsTheSession) {
  TestSession client;
  client.Send("HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<joe@x>\r\nDATA\r\n");
  client.TakeSent();
  client.session().RefuseMessage(replies::TemporaryError());
  client.Send(".\r\nNOOP\r\n");
  EXPECT_EQ(client.TakeSent(), "421 4.3.0 Temporary Error\r\n");
  EXPECT_TRUE(client.closed());
  EXPECT_FALSE(client.session().WantsInput());
}

TEST(SmtpServerSessionTest, StopsReadingWhenInputPilesUp) {
  TestSession client;
  client.hold_recipients = true;
  client.Send("HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<joe@x>\r\n");
  EXPECT_TRUE(client.session().WantsInput());
  size_t sent = 0;
  while (client.session().WantsInput() && sent < (1 << 20)) {
    client.Send("NOOP\r\n");
    sent += 6;
  }
  EXPECT_LE(sent, kMaxKeptInput + 6);
}

TEST(SmtpServerSessionTest, ChunksWithoutOctetsAreAnsweredInBoundedMemory) {
  TestSession client;
  client.Send("HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<joe@x>\r\n");
  client.TakeSent();
  std::string chunks;
  for (int i = 0; i < 10000; ++i) chunks += "BDAT 0\r\n";
  client.Send(chunks);
  const std::string sent = client.TakeSent();
  EXPECT_EQ(std::count(sent.begin(), sent.end(), '\n'), 10000);
}

TEST(SmtpServerSessionTest, ParametersOfARecipientStayWithIt) {
  TestSession client;
  client.hold_recipients = true;
  client.Send(
      "HELO x\r\nMAIL FROM:<a@b>\r\n"
      "RCPT TO:<1@x> NOTIFY=NEVER ORCPT=rfc822;1@x\r\nRCPT TO:<2@x>\r\n");
  ASSERT_EQ(client.held.size(), 2u);
  EXPECT_EQ(client.held[0].path.parameters.dsn_notify, kNotifyNever);
  EXPECT_EQ(client.held[1].path.parameters.dsn_notify, 0);
  EXPECT_EQ(client.held[1].path.parameters.dsn_orcpt, "");
}

TEST(SmtpServerSessionTest, WithoutDsnItIsNotOffered) {
  SmtpServerOptions options = Options();
  options.extensions.dsn = false;
  TestSession client(options);
  client.Send("EHLO x\r\n");
  EXPECT_FALSE(absl::StrContains(client.TakeSent(), "DSN"));
}

TEST(SmtpServerSessionTest, AuthAndStarttlsAreNotOffered) {
  TestSession session;
  session.Send("STARTTLS\r\nEHLO x\r\n");
  session.TakeSent();
  session.Send("STARTTLS\r\nAUTH PLAIN AGpvZQBzZWNyZXQ=\r\n");
  const std::string refusal =
      "503 5.5.1 Invalid command: Command not supported\r\n";
  EXPECT_EQ(session.TakeSent(), refusal + refusal);
}

TEST(SmtpServerSessionTest, PasswordsDoNotReachTheLog) {
  TestSession session;
  session.Send(
      "auth plain AGpvZQBzZWNyZXQ=\r\nAUTH\tLOGIN  secret\r\n"
      "AUTHPLAIN secret\r\nAUTH  LOGIN\r\nAUTH\r\n");
  ASSERT_EQ(session.failed().size(), 5u);
  for (const std::string& line : session.failed()) {
    EXPECT_FALSE(absl::StrContains(line, "AGpv")) << line;
    EXPECT_FALSE(absl::StrContains(line, "secret")) << line;
  }
  EXPECT_TRUE(absl::StrContains(session.failed()[0], "auth plain (...)"))
      << session.failed()[0];
}

TEST(SmtpServerSessionTest, PasswordsInStrangePlacesDoNotReachTheLog) {
  SmtpServerOptions options;
  options.auth = SmtpServerOptions::Auth::kOptional;
  options.auth_in_clear = true;
  for (const absl::string_view line :
       {" AUTH PLAIN secret", "NOOP x\rAUTH PLAIN secret",
        "\tauth=PLAIN secret", "AUTH secret", "AUTH c2VjcmV0c2VjcmV0",
        "AUTH PLAIN=secret", "AUTH secret more"}) {
    TestSession session(options);
    session.Send(absl::StrCat("EHLO x\r\n", line, "\r\n"));
    ASSERT_EQ(session.failed().size(), 1u) << line;
    EXPECT_FALSE(absl::StrContains(session.failed()[0], "secret"))
        << session.failed()[0];
    EXPECT_FALSE(absl::StrContains(session.failed()[0], "c2Vj"))
        << session.failed()[0];
  }
  TestSession session(options);
  session.Send(
      "EHLO x\r\nAUTH CRAM-MD5\r\nRCPT TO:<auth=x@y>\r\nMAIL FROM:<a> "
      "AUTH=\r\n");
  ASSERT_EQ(session.failed().size(), 3u);
  EXPECT_TRUE(absl::StrContains(session.failed()[0], "\"CRAM-MD5\""));
  EXPECT_TRUE(absl::StrContains(session.failed()[1], "auth=x@y"));
}

}  // namespace
}  // namespace holdfast
