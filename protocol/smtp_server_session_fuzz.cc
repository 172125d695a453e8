// Whatever the client sends, however it is cut, whatever the listener offers
// and the owner and its filters answer, at once or later: the session says the
// same, tells the same and accepts the same; what it says are lines that end
// with CRLF, no more of them than it was asked for; no command is taken out of
// a message; while a filter thinks nothing happens, and what filters hear of
// transactions adds up.
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/smtp_server_session.h"

namespace holdfast {
namespace {

// Between two turns of a script: the end of a TLS handshake, if one is due.
constexpr char kTurn = '\xfe';

// Each bit of `choice` is one thing that listeners can have.
SmtpServerOptions OptionsOf(uint8_t choice) {
  SmtpServerOptions options;
  options.name = "mx.test";
  options.max_message_size = 100;
  options.max_recipients = 3;
  options.max_messages = 4;
  options.max_errors = 8;
  options.max_bad_recipients = 4;
  options.max_commands = choice & 1 ? 12 : 0;
  if (choice & 2) options.tls = SmtpServerOptions::Tls::kOffered;
  if (choice & 4) {
    options.auth = SmtpServerOptions::Auth::kOptional;
    options.auth_in_clear = true;
    options.scram = true;
  }
  if (choice & 8) {
    options.line_ends = SmtpServerOptions::LineEnds::kNormalise;
    options.trusted = true;
  }
  options.bare_lf_commands = (choice & 16) != 0;
  if (choice & 64) options.extensions.chunking = false;
  options.now = [] { return absl::FromUnixSeconds(1800000000); };
  return options;
}

// What filters decide: the question number `count` in a run that was begun
// with `seed`.
struct Decision {
  FilterVerdict verdict = FilterVerdict::kProceed;
  const char* text = "";
};
Decision DecisionOf(uint8_t seed, uint32_t count) {
  static constexpr Decision kDecisions[] = {
      {FilterVerdict::kReject, "550 5.7.1 No"},
      {FilterVerdict::kReject, "451 4.7.1 Wait"},
      {FilterVerdict::kReject, "421 4.7.1 Go"},
      {FilterVerdict::kReject, "nonsense"},
      {FilterVerdict::kDisconnect, "550 5.7.1 Go"},
      {FilterVerdict::kRewrite, "<new@x.test>"},
      {FilterVerdict::kRewrite, "<a@@b> SIZE=9999"},
      {FilterVerdict::kRewrite, "PLAIN AGpvZQBzZWNyZXQ="},
      {FilterVerdict::kRewrite, ""},
  };
  const uint32_t mixed = (seed * 2654435761u + count * 40503u) >> 3;
  const size_t choice = mixed % (3 * std::size(kDecisions));
  return choice < std::size(kDecisions) ? kDecisions[choice] : Decision{};
}

class Run {
 public:
  // `filters`: 0: none; else what they decide.
  Run(uint8_t choice, uint8_t filters, absl::string_view wire, size_t step)
      : options_(OptionsOf(choice)),
        filters_(filters),
        late_(step == 7),
        refuses_(absl::StrContains(wire, "!")) {
    session_.OfferXclient((choice & 32) != 0);
    if (filters != 0) {
      session_.SetFilters(
          {filters & 1 ? ~0u : ~MaskOf(FilterPhase::kDataLine), ~0u});
    }
    session_.Greet();
    Drain();
    while (!wire.empty()) {
      if (wire.front() == kTurn) {
        wire.remove_prefix(1);
        if (tls_asked_) session_.OnTlsStarted();
        tls_asked_ = false;
        Drain();
        continue;
      }
      std::string piece(wire.substr(0, std::min(step, wire.find(kTurn))));
      wire.remove_prefix(piece.size());
      Send(&piece);
    }
    if (session_.closed() != closed_) __builtin_trap();
    session_.Abandon();
    Drain();
    if (!transaction_.empty()) __builtin_trap();
  }
  // Everything that can be seen from outside.
  std::string result() const {
    return absl::StrCat(sent_, "|", accepted_, "|", told_, "|",
                        session_.username(), "|", session_.helo());
  }
  const std::string& sent() const { return sent_; }

 private:
  void Send(std::string* piece) {
    const bool deaf = closed_ || tls_asked_;
    const size_t said = sent_.size();
    session_.Receive(*piece);
    Drain();
    session_.KeepRest();
    piece->assign(piece->size(), '!');
    Drain();
    if (deaf && sent_.size() != said) __builtin_trap();
  }
  void Drain() {
    for (;;) {
      std::optional<SmtpServerEvent> event = session_.Next();
      if (event) {
        if (filter_question_ != 0) __builtin_trap();
        std::visit([this](auto& e) { On(e); }, *event);
      } else if (filter_question_ != 0) {
        Decide(std::exchange(filter_question_, 0));
      } else if (!recipients_.empty()) {
        // The last first.
        const RecipientAsked& asked = recipients_.back();
        session_.Resume(asked.question, asked.path.address.user == "no"
                                            ? Reply{550, "5.1.1", "No"}
                                            : replies::RecipientOk());
        recipients_.pop_back();
      } else if (!session_.OutputIsFull()) {
        break;
      }
      sent_ += session_.TakeOutput();
    }
    sent_ += session_.TakeOutput();
  }
  // What comes of a command, not of the text of a message.
  void Command() {
    if (session_.InMessage() || closed_) __builtin_trap();
  }
  void On(SenderAsked& asked) {
    Command();
    binary_ = asked.path.parameters.body == MailParameters::Body::kBinaryMime;
    if (binary_ && filters_ != 0) __builtin_trap();
    if (asked.path.address.user != "no") session_.SetMessageId("30e4722c");
    session_.Resume(asked.question, asked.path.address.user == "no"
                                        ? replies::NoRoom()
                                        : replies::Ok());
  }
  void On(RecipientAsked& asked) {
    Command();
    recipients_.push_back(std::move(asked));
  }
  void On(MessageStarts& asked) {
    message_.clear();
    session_.Resume(asked.question, absl::EndsWith(accepted_, "no\n]")
                                        ? replies::NoRoom()
                                        : replies::StartMail());
  }
  void On(MessageBytes&) {
    // What is refused at a '!' must not depend on how much is read at once.
    session_.ReadMessage(refuses_ ? 1 : 64, &message_);
    if (absl::StrContains(message_, "!"))
      session_.RefuseMessage(replies::TemporaryFailure());
  }
  void On(MessageEnds& asked) {
    const bool text = message_.find('\0') == std::string::npos &&
                      message_.find('\r') == std::string::npos;
    if (!text && !binary_) __builtin_trap();
    if (!binary_ && !message_.empty() && message_.back() != '\n')
      __builtin_trap();
    // Seen with the last piece.
    if (absl::StrContains(message_, "!"))
      return session_.Resume(asked.question, replies::TemporaryFailure());
    absl::StrAppend(&accepted_, "[", message_, "]");
    session_.Resume(asked.question, replies::Accepted("30e4722c"));
  }
  void On(AuthAsked& asked) {
    Command();
    absl::StrAppend(&told_, "A", asked.mechanism, asked.first, asked.response);
    static constexpr AuthAnswerKind kAnswers[] = {
        AuthAnswerKind::kOk, AuthAnswerKind::kFailed,
        AuthAnswerKind::kTemporary, AuthAnswerKind::kChallenge,
        AuthAnswerKind::kMalformed};
    size_t sum = 0;
    for (const char c : asked.response) sum += static_cast<unsigned char>(c);
    AuthAnswerKind answer = kAnswers[sum % std::size(kAnswers)];
    // PLAIN has one step.
    if (asked.mechanism == "PLAIN" && answer == AuthAnswerKind::kChallenge)
      answer = AuthAnswerKind::kOk;
    session_.ResumeAuth(asked.question, answer, "joe");
  }
  void On(XclientAsked& asked) {
    Command();
    for (const auto& [name, value] : asked.attributes) {
      absl::StrAppend(&told_, "X", name, "=", value);
      for (const char c : value) {
        if (static_cast<unsigned char>(c) < ' ') __builtin_trap();
      }
    }
    session_.Resume(asked.question, asked.attributes.size() == 3
                                        ? Reply{550, "5.7.0", "No"}
                                        : replies::Ok());
  }
  void On(PauseAsked& asked) {
    absl::StrAppend(&told_, "P");
    session_.Resume(asked.question, replies::Ok());
  }
  void On(StartTlsAsked&) {
    Command();
    if (tls_asked_ || session_.tls()) __builtin_trap();
    tls_asked_ = true;
  }
  void On(Greeted&) { Command(); }
  void On(TransactionReset&) { message_.clear(); }
  void On(CommandFailed& failed) {
    absl::StrAppend(&told_, "F", failed.command, failed.result);
  }
  void On(BadInput& bad) { absl::StrAppend(&told_, "B", bad.result); }
  void On(AuthCancelled&) { absl::StrAppend(&told_, "C"); }
  void On(SessionClosed&) {
    if (closed_) __builtin_trap();
    closed_ = true;
  }
  void On(FilterAsked& asked) {
    absl::StrAppend(&told_, "?", FilterPhaseName(asked.phase), asked.argument,
                    asked.parameters);
    if (closed_ || filters_ == 0) __builtin_trap();
    if (session_.InMessage() && asked.phase != FilterPhase::kCommit &&
        asked.phase != FilterPhase::kRset &&
        asked.phase != FilterPhase::kNoop &&
        asked.phase != FilterPhase::kQuit &&
        asked.phase != FilterPhase::kEhlo && asked.phase != FilterPhase::kHelo)
      __builtin_trap();
    filter_question_ = asked.question;
    if (!late_) Decide(std::exchange(filter_question_, 0));
  }
  void Decide(uint64_t question) {
    const Decision decision = DecisionOf(filters_, ++decided_);
    session_.ResumeFilter(question, decision.verdict, decision.text);
  }
  void On(MessageTextEnds& asked) {
    absl::StrAppend(&told_, "T", message_);
    if ((filters_ & 1) == 0) __builtin_trap();
    session_.Resume(asked.question, absl::StrContains(message_, "~")
                                        ? replies::LineTooLong()
                                        : replies::Ok());
  }
  void On(FilterTold& told) {
    absl::StrAppend(&told_, "!", FilterEventName(told.event));
    for (const std::string& field : told.fields) {
      absl::StrAppend(&told_, "|", field);
      if (absl::StrContains(field, '\n')) __builtin_trap();
    }
    if (filters_ == 0) __builtin_trap();
    const bool first = told.event == FilterEvent::kTxBegin;
    switch (told.event) {
      case FilterEvent::kTxBegin:
      case FilterEvent::kTxMail:
      case FilterEvent::kTxRcpt:
      case FilterEvent::kTxData:
      case FilterEvent::kTxCommit:
      case FilterEvent::kTxRollback:
      case FilterEvent::kTxReset:
        if (first != transaction_.empty()) __builtin_trap();
        if (told.fields.front() != "30e4722c") __builtin_trap();
        transaction_ =
            told.event == FilterEvent::kTxReset ? "" : told.fields.front();
        break;
      default:
        break;
    }
  }

  const SmtpServerOptions options_;
  const uint8_t filters_;
  const bool late_;  // decisions come when nothing else is left to do
  const bool refuses_;
  uint32_t decided_ = 0;
  uint64_t filter_question_ = 0;
  std::string transaction_;  // that filters were told of
  SmtpServerSession session_{&options_, "192.0.2.1"};
  std::vector<RecipientAsked> recipients_;
  bool binary_ = false;
  bool tls_asked_ = false;
  bool closed_ = false;
  std::string message_;
  std::string sent_;
  std::string accepted_;
  std::string told_;
};

void CheckReplies(absl::string_view wire, absl::string_view sent) {
  char previous = 0;
  size_t at_line = 0;
  size_t replies = 0;
  for (size_t i = 0; i < sent.size(); ++i) {
    const char c = sent[i];
    if (c == '\n' ? previous != '\r' : (previous == '\r' || c == '\0'))
      __builtin_trap();
    if (i - at_line == 3 && c == ' ') ++replies;
    if (c == '\n') at_line = i + 1;
    previous = c;
  }
  // The banner, one for each line at most, and one for a line without end.
  size_t lines = 0;
  for (const char c : wire) lines += c == '\n';
  if (replies > lines + 2) __builtin_trap();
}

}  // namespace
}  // namespace holdfast

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using holdfast::kTurn;
  using holdfast::Run;
  absl::string_view text(reinterpret_cast<const char*>(data), size);
  // The first octet, if it is no ASCII, chooses the listener.
  uint8_t choice = 0;
  if (!text.empty() && static_cast<uint8_t>(text.front()) > 127) {
    choice = static_cast<uint8_t>(text.front()) & 0x7f;
    text.remove_prefix(1);
  }
  // So does the second, if there is one, the filters.
  uint8_t filters = 0;
  if (choice != 0 && !text.empty() &&
      static_cast<uint8_t>(text.front()) > 127 && text.front() != kTurn) {
    filters = static_cast<uint8_t>(text.front()) & 0x7f;
    text.remove_prefix(1);
  }
  // As it is, and inside a transaction.
  for (const absl::string_view opening :
       {"", "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n",
        "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"}) {
    const std::string wire = absl::StrCat(opening, text);
    const Run whole(choice, filters, wire, wire.size() + 1);
    for (const size_t step : {1, 7}) {
      if (Run(choice, filters, wire, step).result() != whole.result())
        __builtin_trap();
    }
    holdfast::CheckReplies(wire, whole.sent());
  }
  return 0;
}
