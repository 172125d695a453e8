// The server's side of one SMTP session (RFC 5321, with PIPELINING, 8BITMIME,
// ENHANCEDSTATUSCODES, SIZE, DSN and CHUNKING; reference part 1, section 4).
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
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "protocol/data_decoder.h"
#include "protocol/mail_address.h"
#include "protocol/reply.h"
#include "protocol/smtp_path.h"

namespace holdfast {

// Of one listener; shared by its sessions.
struct SmtpServerOptions {
  std::string name;  // banner and EHLO; completes addresses without a domain
  bool dsn = true;   // offer DSN
  uint64_t max_message_size = 36700160;
  uint32_t max_recipients = 1000;  // of a message
  uint32_t max_messages = 100;     // of a session
};

// Asked.  Each is answered by one Resume() with its question.
struct SenderAsked {
  uint64_t question = 0;
  ReversePath path;
};
// Several may be open at once: pipelined recipients cost one round trip.
struct RecipientAsked {
  uint64_t question = 0;
  ForwardPath path;
};
// A message is about to come.  To be answered with replies::StartMail() or a
// refusal, for BDAT too (which has no such reply: it is not sent then).
struct MessageStarts {
  uint64_t question = 0;
};
// All of the message was read.
struct MessageEnds {
  uint64_t question = 0;
};
// Told.
struct Greeted {};       // HELO or EHLO: see helo() and extended()
struct MessageBytes {};  // call ReadMessage()
// The transaction is over: forget sender, recipients, what there is of a
// message.  Told once more than needed at times.
struct TransactionReset {};
struct CommandFailed {  // a reply of class 4 or 5, to be logged
  std::string command;
  std::string result;
};
struct BadInput {  // the session ends for it
  std::string result;
};
struct SessionClosed {};  // by us: send the output, then close

using SmtpServerEvent =
    std::variant<SenderAsked, RecipientAsked, MessageStarts, MessageEnds,
                 Greeted, MessageBytes, TransactionReset, CommandFailed,
                 BadInput, SessionClosed>;

// Limits of the session itself.
inline constexpr size_t kMaxCommandBytes = 2047;  // without the line end
inline constexpr size_t kMaxKeptInput = 64 << 10;
inline constexpr size_t kMaxPendingOutput = 16 << 10;
inline constexpr size_t kMaxOpenRecipients = 128;

class SmtpServerSession {
 public:
  // `options` outlives the session.  `client_address` as log lines have it:
  // "192.0.2.1", "[2001:db8::1]" or "local".
  SmtpServerSession(const SmtpServerOptions* options,
                    std::string client_address);

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

  // Takes at most `limit` bytes of input and appends what they are, as stored
  // text (LF line ends), to `*out`.  After MessageBytes.
  void ReadMessage(size_t limit, std::string* out);

  // The owner cannot take the message: its rest is read and dropped, and
  // `reply` given at its end, unless the session has a better reason.
  void RefuseMessage(Reply reply);

  // Ends the session with `reply`, at once.
  void Close(Reply reply);

  // What to send.
  std::string TakeOutput();
  bool OutputIsFull() const { return output_.size() > kMaxPendingOutput; }

  const std::string& helo() const { return helo_; }
  bool extended() const { return extended_; }  // EHLO, not HELO
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
    kClosed,
  };

  // A message that is being read.
  struct Message {
    DataDecoder decoder;
    bool chunked = false;
    std::optional<Reply> refusal;  // by the owner
    bool dropped = false;          // the owner was told to forget it
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
  };
  struct VerbRule;
  static const VerbRule* FindVerb(absl::string_view verb);
  static Command SplitCommand(absl::string_view line);

  bool Step();
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
  void OnNotOffered(const Command& command);
  void OnOtherProtocol(const Command& command);

  void StartMessage(const Command& command, DataDecoder::Framing framing);
  void SkipChunk(Reply refusal, State next);
  void EndChunk(std::string* out);
  void EndMessage();
  void EndTransaction();
  void ResumeRecipient(uint64_t question, Reply reply);
  void ResumeStart(Reply reply);
  void DropMessageIfRefused();
  std::optional<Reply> MessageRefusal() const;

  void Answer(const Reply& reply, absl::string_view command);
  void CloseForBadInput(const Reply& reply);
  void Finish();
  void Consume(size_t bytes);
  bool ReadsCommands() const;
  PathOptions path_options() const { return {options_->name, options_->dsn}; }

  const SmtpServerOptions* options_;
  std::string client_address_;
  State state_ = State::kUnidentified;
  bool extended_ = false;
  std::string helo_;
  uint32_t accepted_recipients_ = 0;
  uint32_t messages_ = 0;
  uint64_t last_question_ = 0;
  std::string command_;  // whose answer is still to come, for the log
  std::vector<PendingReply> recipients_;  // open questions, in order
  std::optional<Message> message_;
  Chunk chunk_;

  std::vector<SmtpServerEvent> events_;
  size_t next_event_ = 0;
  std::string buffer_;       // input kept from earlier
  absl::string_view input_;  // not yet used: in buffer_, or the owner's
  std::string output_;
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_SMTP_SERVER_SESSION_H_
