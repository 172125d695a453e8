// The cases of testdata/hostile through the session machine: in one piece, cut
// in two everywhere, and byte by byte.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/smtp_server_session.h"

namespace holdfast {
namespace {

constexpr char kOpening[] =
    "EHLO client.example\r\nMAIL FROM:<a@outside.example>\r\n"
    "RCPT TO:<b@inside.example>\r\n";
// Longer ones are not cut everywhere: time grows with the square.
constexpr size_t kMaxCutEverywhere = 3000;

struct Case {
  std::string name;
  std::set<std::string> options;
  std::vector<std::string> turns = {""};  // a handshake between two
  std::vector<std::string> replies;
  std::vector<std::string> messages;
  bool closed = false;
};

char UnescapeOne(absl::string_view* text) {
  const char c = text->front();
  text->remove_prefix(1);
  switch (c) {
    case 'r':
      return '\r';
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    case '0':
      return '\0';
    case 'x': {
      const std::string digits(text->substr(0, 2));
      text->remove_prefix(2);
      return static_cast<char>(std::stoi(digits, nullptr, 16));
    }
    default:
      return c;
  }
}

std::string Unescape(absl::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t end = text.find('}');
    const size_t star = text.substr(0, end).rfind('*');
    if (text.front() == '{' && end != text.npos && star != text.npos) {
      size_t times = 0;
      EXPECT_TRUE(
          absl::SimpleAtoi(text.substr(star + 1, end - star - 1), &times));
      const std::string piece = Unescape(text.substr(1, star - 1));
      for (; times > 0; --times) out += piece;
      text.remove_prefix(end + 1);
      continue;
    }
    const char c = text.front();
    text.remove_prefix(1);
    out.push_back(c == '\\' ? UnescapeOne(&text) : c);
  }
  return out;
}

std::vector<Case> ReadCases(const std::string& path) {
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  std::vector<Case> cases;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (line.empty() || line[0] == '#') continue;
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(line, absl::MaxSplits(' ', 1));
    const std::string what(parts.first);
    absl::string_view rest = parts.second;
    if (what == "case") {
      cases.emplace_back();
      cases.back().name = std::string(rest);
      continue;
    }
    Case& it = cases.back();
    if (what == "options") {
      it.options = absl::StrSplit(rest, ' ');
    } else if (what == "open") {
      it.turns.back() += kOpening;
      it.replies.insert(it.replies.end(), 3, "250");
    } else if (what == "send") {
      it.turns.back() += Unescape(rest);
    } else if (what == "handshake") {
      it.turns.emplace_back();
    } else if (what == "reply") {
      it.replies.emplace_back(rest);
    } else if (what == "repeat") {
      const std::vector<std::string> words =
          absl::StrSplit(rest, absl::MaxSplits(' ', 2));
      it.replies.insert(it.replies.end(), std::stoul(words[0]), words[2]);
    } else if (what == "message") {
      it.messages.push_back(Unescape(rest));
    } else if (what == "closed") {
      it.closed = true;
    } else {
      ADD_FAILURE() << path << ": " << line;
    }
  }
  return cases;
}

SmtpServerOptions OptionsOf(const Case& it) {
  SmtpServerOptions options;
  options.name = "mx.holdfast.example";
  options.max_message_size = 100000;
  options.max_messages = 3;
  if (it.options.count("tls")) options.tls = SmtpServerOptions::Tls::kOffered;
  if (it.options.count("auth")) {
    options.auth = SmtpServerOptions::Auth::kOptional;
    options.auth_in_clear = true;
  }
  if (it.options.count("local")) {
    options.trusted = true;
    options.bare_lf_commands = true;
    options.line_ends = SmtpServerOptions::LineEnds::kNormalise;
  }
  return options;
}

// What a client sees, and what was accepted from it.
struct Outcome {
  std::string sent;
  std::vector<std::string> messages;
  std::vector<std::string> log;
  bool closed = false;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

class Run {
 public:
  explicit Run(const Case& it) : options_(OptionsOf(it)) {
    session_.OfferXclient(it.options.count("xclient") > 0);
    session_.Greet();
    Drain();
  }

  void Send(absl::string_view bytes) {
    std::string piece(bytes);
    session_.Receive(piece);
    Drain();
    session_.KeepRest();
    piece.assign(piece.size(), '!');
    Drain();
  }
  void Handshake() {
    EXPECT_TRUE(tls_asked_);
    EXPECT_FALSE(session_.WantsInput());
    tls_asked_ = false;
    session_.OnTlsStarted();
    Drain();
  }
  const Outcome& outcome() const { return outcome_; }

 private:
  void Drain() {
    for (;;) {
      std::optional<SmtpServerEvent> event = session_.Next();
      if (event) std::visit([this](auto& e) { On(e); }, *event);
      const bool full = session_.OutputIsFull();
      outcome_.sent += session_.TakeOutput();
      if (!event && !full) return;
    }
  }
  void On(SenderAsked& asked) {
    session_.Resume(asked.question, replies::Ok());
  }
  void On(RecipientAsked& asked) {
    session_.Resume(asked.question, replies::RecipientOk());
  }
  void On(MessageStarts& asked) {
    message_.clear();
    session_.Resume(asked.question, replies::StartMail());
  }
  void On(MessageBytes&) { session_.ReadMessage(4096, &message_); }
  void On(MessageEnds& asked) {
    outcome_.messages.push_back(message_);
    session_.Resume(asked.question, replies::Accepted("30e4722c"));
  }
  void On(AuthAsked& asked) {
    const bool right =
        absl::EndsWith(asked.response, absl::string_view("\0secret", 7));
    session_.ResumeAuth(asked.question,
                        right ? AuthAnswerKind::kOk : AuthAnswerKind::kFailed,
                        "joe");
  }
  void On(XclientAsked& asked) {
    session_.Resume(asked.question, replies::Ok());
  }
  void On(PauseAsked& asked) { session_.Resume(asked.question, replies::Ok()); }
  void On(StartTlsAsked&) { tls_asked_ = true; }
  // Of filters, which are not here.
  void On(FilterAsked&) { ADD_FAILURE() << "nobody is to be asked"; }
  void On(MessageTextEnds&) { ADD_FAILURE() << "no text goes elsewhere"; }
  void On(FilterTold&) { ADD_FAILURE() << "nobody is to be told"; }
  void On(Greeted&) {}
  void On(TransactionReset&) { message_.clear(); }
  void On(AuthCancelled&) {}
  void On(CommandFailed& failed) {
    outcome_.log.push_back(absl::StrCat(failed.command, " -> ", failed.result));
  }
  void On(BadInput& bad) { outcome_.log.push_back(bad.result); }
  void On(SessionClosed&) { outcome_.closed = true; }

  const SmtpServerOptions options_;
  SmtpServerSession session_{&options_, "192.0.2.1"};
  bool tls_asked_ = false;
  std::string message_;
  Outcome outcome_;
};

// Cut before the octet `cut` of all that is sent.
Outcome RunCutAt(const Case& it, size_t cut) {
  Run run(it);
  for (size_t turn = 0; turn < it.turns.size(); ++turn) {
    if (turn > 0) run.Handshake();
    const absl::string_view bytes = it.turns[turn];
    const size_t here = std::min(cut, bytes.size());
    cut -= here;
    if (here > 0) run.Send(bytes.substr(0, here));
    if (here < bytes.size()) run.Send(bytes.substr(here));
  }
  return run.outcome();
}

Outcome RunInPieces(const Case& it, size_t size) {
  Run run(it);
  for (size_t turn = 0; turn < it.turns.size(); ++turn) {
    if (turn > 0) run.Handshake();
    for (absl::string_view bytes = it.turns[turn]; !bytes.empty();) {
      const absl::string_view piece = bytes.substr(0, size);
      run.Send(piece);
      bytes.remove_prefix(piece.size());
    }
  }
  return run.outcome();
}

void ExpectReplies(const Case& it, const std::string& sent) {
  std::vector<std::string> last_lines;
  for (const absl::string_view line :
       absl::StrSplit(sent, "\r\n", absl::SkipEmpty())) {
    if (line.size() > 3 && line[3] == ' ') last_lines.emplace_back(line);
  }
  ASSERT_EQ(last_lines.size(), it.replies.size() + 1) << sent;
  EXPECT_TRUE(absl::StartsWith(last_lines[0], "220 "));
  for (size_t i = 0; i < it.replies.size(); ++i) {
    EXPECT_TRUE(absl::StartsWith(last_lines[i + 1], it.replies[i]))
        << "reply " << i + 1 << " is " << last_lines[i + 1] << ", not "
        << it.replies[i];
  }
}

void Check(const Case& it) {
  SCOPED_TRACE(it.name);
  size_t size = 0;
  for (const std::string& turn : it.turns) size += turn.size();
  const Outcome whole = RunCutAt(it, 0);
  ExpectReplies(it, whole.sent);
  EXPECT_EQ(whole.messages, it.messages);
  EXPECT_EQ(whole.closed, it.closed);
  for (const std::string& line : whole.log) {
    EXPECT_FALSE(absl::StrContains(line, "c2VjcmV0")) << line;
    EXPECT_FALSE(absl::StrContains(line, "zZWNyZXQ")) << line;
  }
  const size_t step = 1 + size / kMaxCutEverywhere;
  for (size_t cut = 1; cut < size; cut += step)
    ASSERT_EQ(RunCutAt(it, cut), whole) << "cut at " << cut;
  for (const size_t pieces : {1, 2, 3, 7})
    EXPECT_EQ(RunInPieces(it, pieces), whole) << "pieces of " << pieces;
}

TEST(SmtpHostileTest, EveryCaseEndsTheSameUnderEverySplit) {
  size_t cases = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator("testdata/hostile")) {
    if (entry.path().extension() != ".txt") continue;
    for (const Case& it : ReadCases(entry.path())) {
      Check(it);
      ++cases;
    }
  }
  EXPECT_GT(cases, 90u);
}

}  // namespace
}  // namespace holdfast
