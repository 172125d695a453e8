// What an SMTP server session asks and tells its owner, and what its listener
// lays down (smtp_server_session.h).
#ifndef HOLDFAST_PROTOCOL_SMTP_SERVER_EVENTS_H_
#define HOLDFAST_PROTOCOL_SMTP_SERVER_EVENTS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "protocol/filter_words.h"
#include "protocol/smtp_parameters.h"
#include "protocol/smtp_path.h"

namespace holdfast {

// Of one listener; shared by its sessions.
struct SmtpServerOptions {
  using Extensions = SmtpExtensions;
  enum class Tls : uint8_t { kNone, kOffered, kRequired, kWrapped };
  enum class Auth : uint8_t { kNone, kOptional, kRequired };
  enum class LineEnds : uint8_t { kStrict, kNormalise };

  std::string name;  // banner and EHLO; completes addresses without a domain
  uint64_t max_message_size = 36700160;
  uint32_t max_recipients = 1000;  // of a message
  uint32_t max_messages = 100;     // of a session

  Extensions extensions;  // what may be offered
  Tls tls = Tls::kNone;   // kWrapped: the stream is TLS before Greet()
  Auth auth = Auth::kNone;
  bool auth_in_clear = false;  // else AUTH is offered inside TLS only
  bool scram = false;          // SCRAM-SHA-256, too
  // A bare CR or NUL in a message is never accepted.  A bare LF neither, but
  // with kNormalise, from who is trusted or authenticated, it is stored as a
  // line end; it never ends the message.
  LineEnds line_ends = LineEnds::kStrict;
  bool bare_lf_commands = false;  // a command may end in a bare LF
  bool trusted = false;           // the local socket: counts as authenticated

  // Limits of a session; 0: none.  From the half of the first two on, each
  // further one makes the client wait (PauseAsked); at the number, 421.
  uint32_t max_errors = 20;  // replies of class 4 or 5 but those to RCPT
  uint32_t max_bad_recipients = 100;  // refused
  uint32_t max_commands = 0;  // commands since the last accepted message
  uint32_t max_auth_failures = 3;

  // Whether a handshake can be made now; null: always.
  std::function<bool()> tls_ready;

  // FUTURERELEASE is offered only if there is a clock.
  std::function<absl::Time()> now;
  absl::Duration futurerelease_max = absl::Hours(24 * 7);
  absl::Duration deliverby_min = absl::ZeroDuration();  // mode R; 0: none
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
// One step of an AUTH exchange (RFC 4954); answered by ResumeAuth().  Secret:
// must not be logged.
struct AuthAsked {
  uint64_t question = 0;
  bool first = false;     // begins an exchange
  std::string mechanism;  // "PLAIN" (LOGIN comes as PLAIN), "SCRAM-SHA-256"
  std::string response;   // of the client, decoded from base64
};
// XCLIENT or XFORWARD.  To be answered with a reply of class 2 (XCLIENT then
// gets the banner instead) or a refusal.  An attribute that the client gave as
// [UNAVAILABLE] or [TEMPUNAVAIL] stands so.
struct XclientAsked {
  uint64_t question = 0;
  bool forward = false;  // XFORWARD
  // Names in upper case, values decoded; none twice, each checked.
  std::vector<std::pair<std::string, std::string>> attributes;
};
// The client makes many errors: nothing further is done for it until this was
// answered, with any reply (which is not sent), after about kErrorPause.
struct PauseAsked {
  uint64_t question = 0;
};
// May this be done?  Asked for the phases of SessionFilters before a command is
// executed that nothing else speaks against; until ResumeFilter() nothing
// further happens.
struct FilterAsked {
  uint64_t question = 0;
  FilterPhase phase{};
  // Identity, argument of AUTH (secret: must not be logged), address without
  // <>; empty for the others.
  std::string argument;
  std::string parameters;  // MAIL and RCPT: those behind the address
};
// All of the message was read, and its text passes filters: to be answered,
// with any reply of class 2 or the refusal, when it is through.  MessageEnds
// follows.
struct MessageTextEnds {
  uint64_t question = 0;
};
// Told.
struct FilterTold {  // one of SessionFilters::events; fields as in version 0.7
  FilterEvent event{};
  std::vector<std::string> fields;
};
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
// The go-ahead for TLS is in TakeOutput(); what the client had sent behind
// STARTTLS was dropped.  Send, do the handshake, call OnTlsStarted(); until
// then nothing happens and WantsInput() is false.  No handshake: close.
struct StartTlsAsked {};
// An AUTH exchange has ended between two steps: the client gave it up.
struct AuthCancelled {};
struct SessionClosed {};  // by us: send the output, then close

using SmtpServerEvent =
    std::variant<SenderAsked, RecipientAsked, MessageStarts, MessageEnds,
                 AuthAsked, XclientAsked, PauseAsked, Greeted, MessageBytes,
                 TransactionReset, CommandFailed, BadInput, StartTlsAsked,
                 AuthCancelled, SessionClosed, FilterAsked, MessageTextEnds,
                 FilterTold>;

// What filters want of a session (MaskOf()).  Sessions that have filters take
// one command after the other.
struct SessionFilters {
  uint32_t phases = 0;
  // Of link-greeting, link-identify, protocol-client and -server, and those of
  // the transaction but tx-envelope; the owner knows the others.
  uint32_t events = 0;
};

enum class FilterVerdict : uint8_t {
  kProceed,
  kRewrite,     // text: the command's argument instead of the client's
  kReject,      // text: the reply, "4xx ..." or "5xx ..."
  kDisconnect,  // text: the same, and then the session ends
};

// What came of a step of AUTH.
enum class AuthAnswerKind : uint8_t {
  kOk,         // text: the user name
  kFailed,     // user and password do not fit, whichever it is
  kTemporary,  // could not be checked now
  kChallenge,  // text: what the client is to answer, not encoded
  kMalformed,
};

inline constexpr absl::Duration kErrorPause = absl::Seconds(1);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_SMTP_SERVER_EVENTS_H_
