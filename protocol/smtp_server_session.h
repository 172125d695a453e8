// The server's side of one SMTP session (RFC 5321 and the extensions that
// docs/RFC.md lists; reference part 1, section 4).
//
//   bytes --> Receive()            Next() --> event, or nothing for now
//                        session
//   answers -> Resume()      TakeOutput() --> bytes
//
// Does no I/O and knows no clock: the owner enforces time limits.  Events are
// pulled, so that nothing is reentrant and the owner may drop the session at
// any time.  What a session does depends on the bytes, not on how they are cut.
#ifndef HOLDFAST_PROTOCOL_SMTP_SERVER_SESSION_H_
#define HOLDFAST_PROTOCOL_SMTP_SERVER_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "protocol/data_decoder.h"
#include "protocol/reply.h"
#include "protocol/smtp_server_events.h"

namespace holdfast {

// Limits of the session itself.
inline constexpr size_t kMaxCommandBytes = 2047;  // without the line end
// A client's line inside an AUTH exchange (RFC 4954 section 4.5).
inline constexpr size_t kMaxAuthLineBytes = 12288;
inline constexpr size_t kMaxKeptInput = 64 << 10;
inline constexpr size_t kMaxPendingOutput = 16 << 10;
inline constexpr size_t kMaxOpenRecipients = 128;

// What filters see of passwords.
inline constexpr char kMaskedSecret[] = "********";

// Two lines of EHLO: the attributes of XCLIENT and XFORWARD.
std::string XclientOffer();

// How often the limits of SmtpServerOptions have acted.
struct SessionLimitHits {
  uint32_t errors = 0, bad_recipients = 0, commands = 0, auth_failures = 0;
  uint32_t recipients = 0, messages = 0, message_size = 0;
};

class SmtpServerSession {
 public:
  // `options` outlives the session.  `client_address` as log lines have it:
  // "192.0.2.1", "[2001:db8::1]" or "local".
  SmtpServerSession(const SmtpServerOptions* options,
                    std::string client_address);

  // The name this session goes by (`hostnames`).  Before Greet().
  void SetName(std::string name) { name_ = std::move(name); }
  // The client's real address (PROXY, XCLIENT), as for the constructor.
  void SetClientAddress(std::string address) {
    client_address_ = std::move(address);
  }
  // This client may say XCLIENT and XFORWARD.  Before Greet().
  void OfferXclient(bool offer) { xclient_offered_ = offer; }

  // This session passes filters.  Before Greet(), and whenever they want
  // something else.
  void SetFilters(const SessionFilters& filters);

  // Says the banner.  First.
  void Greet();

  // Bytes from the client.  They are used in place by Next() and
  // ReadMessage(): they must stay until KeepRest() has been called.
  void Receive(absl::string_view bytes);
  // Copies what was not used of the bytes last received.
  void KeepRest();
  // Whether more should be read from the client now.
  bool WantsInput() const;

  // The next event; nullopt while the session waits: for bytes, for an answer,
  // or for TakeOutput() (see OutputIsFull()).  MessageBytes is repeated until
  // ReadMessage() was called.
  std::optional<SmtpServerEvent> Next();

  // Answers a question.  One that is not open any more is ignored.  A reply
  // 421 ends the session.
  void Resume(uint64_t question, Reply reply);

  // Answers AuthAsked; `text` as AuthAnswerKind says.
  void ResumeAuth(uint64_t question, AuthAnswerKind kind,
                  absl::string_view text = {});

  // The handshake that StartTlsAsked asked for is done: what comes now is from
  // inside TLS, and nothing is left of what the client said before.
  void OnTlsStarted();

  // Takes at most `limit` bytes of input and appends what they are, as stored
  // text, to `*out`: lines end with LF; what is behind the header of a
  // message with BODY=BINARYMIME is as the client sent it.  After MessageBytes.
  void ReadMessage(size_t limit, std::string* out);

  // The owner cannot take the message: its rest is read and dropped, and
  // `reply` given at its end, unless the session has a better reason.  Once
  // MessageTextEnds or MessageEnds was asked, it is to be refused by the
  // answer.
  void RefuseMessage(Reply reply);

  // Answers FilterAsked.
  void ResumeFilter(uint64_t question, FilterVerdict verdict,
                    absl::string_view text = {});
  // What events of the transaction tell, if there are filters: its id (before
  // SenderAsked is answered with yes), the size of its message (before
  // MessageEnds is).  Without an id there are no such events (any more).
  void SetMessageId(std::string id);
  void SetMessageBytes(uint64_t bytes);

  // Ends the session with `reply`, at once.
  void Close(Reply reply);
  // The same without a word: the client is gone.
  void Abandon();

  // What to send.
  std::string TakeOutput();
  bool OutputIsFull() const { return output_.size() > kMaxPendingOutput; }

  const std::string& helo() const { return helo_; }
  bool extended() const { return extended_; }  // EHLO, not HELO
  const std::string& name() const {
    return name_.empty() ? options_->name : name_;
  }
  bool tls() const { return tls_; }
  bool authenticated() const { return authenticated_; }
  // Since this was last asked; news come with CommandFailed.
  SessionLimitHits TakeLimitHits() {
    return std::exchange(hits_, SessionLimitHits());
  }
  // By whom; empty on the local socket.
  const std::string& username() const { return username_; }
  // Whether an AUTH exchange is open that has had a first step.
  bool in_auth() const { return auth_.has_value() && auth_->begun; }
  // Between the start of a message and the reply to it.
  bool InMessage() const;
  bool closed() const { return state_ == State::kClosed; }
  // A question is open.
  bool waits_for_answer() const;

 private:
  enum class State {
    kUnidentified,
    kIdentified,     // HELO or EHLO was accepted
    kSenderAsked,    // waits for the owner
    kTransaction,    // MAIL was accepted
    kStarting,       // waits for the owner
    kData,           // reads up to the final dot
    kChunk,          // reads the octets of a BDAT
    kBetweenChunks,  // after a BDAT that was not the last
    kSkippingChunk,  // the octets of a BDAT that is refused
    kEnding,         // waits for the owner
    kTlsAsked,       // waits for the owner's handshake
    kAuthLine,       // the next line is one of an AUTH exchange
    kAuthAsked,      // waits for the owner
    kXclientAsked,   // waits for the owner
    kFilterAsked,    // waits for the owner
    kTextEnding,     // waits for the owner: filters have the text
    kClosed,
  };

  // A message that is being read.
  struct Message {
    DataDecoder decoder;
    bool chunked = false;
    std::optional<Reply> refusal;  // by the owner
    bool dropped = false;          // the owner was told to forget it
    bool filtered = false;         // its text passes filters
  };
  // What MAIL has said that the session itself must know.
  struct Transaction {
    uint32_t accepted_recipients = 0;
    bool binary = false;                  // BODY=BINARYMIME
    bool smtputf8 = false;                // SMTPUTF8
    std::optional<int> lowered_priority;  // to what MT-PRIORITY was lowered
  };
  // An AUTH exchange.
  struct Auth {
    enum class Expects : uint8_t { kPlain, kLoginUser, kLoginPassword, kScram };
    Expects expects = Expects::kPlain;
    bool begun = false;  // the owner was asked a first time
    std::string user;    // LOGIN
  };
  struct Line {
    enum class Kind : uint8_t { kNone, kTooLong, kComplete };
    Kind kind = Kind::kNone;
    absl::string_view text;  // without line end; still to be consumed
    size_t bytes = 0;        // with line end
    bool bare_lf = false;    // ended so
  };
  struct Chunk {
    uint64_t size = 0;
    uint64_t left = 0;
    bool last = false;
    // kSkippingChunk: what is said, and the state, once they were skipped.
    Reply refusal;
    State next = State::kIdentified;
  };
  // A reply that must wait for those before it.
  struct PendingReply {
    uint64_t question = 0;
    std::string command;
    std::optional<Reply> reply;
  };
  struct Command {
    absl::string_view line;
    absl::string_view verb;
    bool has_argument = false;
    absl::string_view argument;
    bool bare_lf = false;
  };
  struct VerbRule;
  // With filters.
  struct Filtering {
    SessionFilters wants;
    // The question that is open: what is asked, the state it is asked in, and
    // what the client said.
    FilterPhase phase{};
    State before = State::kUnidentified;
    std::string line, argument;
    bool passed = false;       // it was answered: the command is executed
    bool turned_away = false;  // instead of the banner
    // Of the transaction.
    std::string message_id;  // empty: none to be told of
    uint64_t message_bytes = 0;
  };
  static const VerbRule* FindVerb(absl::string_view verb);
  static Command SplitCommand(absl::string_view line);
  // What follows the mechanism of AUTH may be a password, and so may be what
  // stands in its place: `mask` instead.
  static std::string WithoutSecrets(absl::string_view command,
                                    absl::string_view mask);

  bool Step();
  Line PeekLine(size_t limit) const;
  bool StepCommand();
  bool StepMessage();
  bool StepSkipping();
  void Execute(const Command& command, const VerbRule* rule);

  void OnHelo(const Command& command);
  void OnEhlo(const Command& command);
  void Identify(const Command& command, bool extended);
  void OnMail(const Command& command);
  void OnRcpt(const Command& command);
  void OnData(const Command& command);
  void OnBdat(const Command& command);
  void OnRset(const Command& command);
  void OnNoop(const Command& command);
  void OnHelp(const Command& command);
  void OnVrfy(const Command& command);
  void OnQuit(const Command& command);
  void OnWiz(const Command& command);
  void OnStartTls(const Command& command);
  void OnAuth(const Command& command);
  void OnXclient(const Command& command);
  void OnXforward(const Command& command);
  void OnOtherProtocol(const Command& command);

  SmtpExtensions Offered() const;
  ParameterRules Rules() const;
  std::string EhloText() const;
  std::string AuthMechanisms() const;
  std::optional<Reply> LimitReached();

  bool StepAuth();
  void BeginAuth(Auth::Expects expects, absl::string_view initial);
  void TakeAuthResponse(absl::string_view encoded);
  void AskAuth(const char* mechanism, std::string response);
  void ChallengeAuth(absl::string_view text);
  void EndAuth(const Reply& reply);
  void OnXattributes(const Command& command, bool forward);
  void ResumeXclient(Reply reply);
  void TakeXattributes(const XclientAsked& asked);

  // ---- smtp_server_filter.cc
  bool HasFilterFor(FilterPhase phase) const;
  bool AskFilter(FilterPhase phase, const Command& command,
                 absl::string_view argument = {},
                 absl::string_view parameters = {});
  bool AskFilterOfPath(FilterPhase phase, const Command& command);
  bool AskFilter(FilterPhase phase);
  void SayBanner();
  void ExecuteFiltered(absl::string_view argument);
  void RefuseByFilter(const Reply& reply);
  void ForgetQuestion();
  bool Tells(FilterEvent event) const;
  void Tell(FilterEvent event, std::vector<std::string> fields);
  void TellCommand(absl::string_view line);
  void TellReply(absl::string_view lines);
  void TellOfMessage(FilterEvent event, const Reply& reply,
                     absl::string_view command = {});
  void TellRefusal(const Reply& reply, absl::string_view command);
  void TellSender();
  void TellTransactionEnd(bool accepted);
  bool TurnsAway(const VerbRule& rule) const;

  void StartMessage(const Command& command, DataDecoder::Framing framing);
  void SkipChunk(Reply refusal, State next);
  void EndChunk(std::string* out);
  void EndMessage();
  bool IsReading() const;
  void EndText();
  void FailMessage(const Reply& reply);
  void EndTransaction();
  void ForgetTransaction();
  void ResumeRecipient(uint64_t question, Reply reply);
  void ResumeSender(Reply reply);
  void ResumeStart(Reply reply);
  void ResumeEnd(Reply reply);
  void ResumeText(Reply reply);
  void DropMessageIfRefused();
  std::optional<Reply> MessageRefusal() const;

  uint64_t Ask(State state);
  void Answer(const Reply& reply, absl::string_view command);
  void AnswerRecipient(const Reply& reply, absl::string_view command);
  void Say(const Reply& reply, absl::string_view command);
  void Send(const Reply& reply);
  void CountError(uint32_t* count, uint32_t limit);
  void CloseForBadInput(const Reply& reply);
  void Finish();
  void Consume(size_t bytes);
  bool ReadsCommands() const;

  const SmtpServerOptions* options_;
  std::string client_address_;
  State state_ = State::kUnidentified;
  bool extended_ = false;
  std::string helo_;
  std::string name_;  // empty: that of the options
  bool xclient_offered_ = false;
  bool tls_ = false;
  bool authenticated_ = false;
  std::string username_;
  bool hide_command_ = false;  // the next may be a password

  uint32_t messages_ = 0;
  uint32_t errors_ = 0;
  uint32_t bad_recipients_ = 0;
  uint32_t commands_ = 0;
  uint32_t auth_failures_ = 0;
  SessionLimitHits hits_;

  uint64_t last_question_ = 0;
  uint64_t asked_ = 0;   // the question that the state waits for
  uint64_t pause_ = 0;   // the question of PauseAsked, while it is open
  std::string command_;  // whose answer is still to come, for the log
  std::vector<PendingReply> recipients_;  // open questions, in order
  Transaction transaction_;
  std::optional<Message> message_;
  Chunk chunk_;
  std::optional<Auth> auth_;
  // To be applied when it is answered, and the state until then.
  std::unique_ptr<XclientAsked> xclient_;
  State before_xclient_ = State::kUnidentified;
  std::unique_ptr<Filtering> filtering_;  // null: no filters

  std::vector<SmtpServerEvent> events_;
  size_t next_event_ = 0;
  std::string buffer_;       // input kept from earlier
  absl::string_view input_;  // not yet used: in buffer_, or the owner's
  std::string output_;
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_SMTP_SERVER_SESSION_H_
