// receive <-> queue, receive <-> relay (names of clients), and what receive and
// queue ask lookup.
#ifndef HOLDFAST_SERVER_DOOR_RECEIVE_MESSAGES_H_
#define HOLDFAST_SERVER_DOOR_RECEIVE_MESSAGES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "protocol/body_info.h"
#include "protocol/envelope.h"
#include "protocol/ids.h"

namespace holdfast {

// ---- receive -> queue

// By how much the text of a message, as it is stored, may exceed
// `max-message-size`: our own header fields, domains added to addresses.
inline constexpr uint64_t kHeaderAllowance = 64 << 10;

// Please lease message ids; asked for when fewer than half a lease is left.
struct LeaseRequest {
  static constexpr uint16_t kType = 1;
  uint32_t count = 0;
  template <class A>
  void Fields(A& a) {
    a(count);
  }
};

// A message that is complete.  `question` is answered by Accepted, after the
// sync.  `stored` as in AcceptMessage (storage/queue_batch.h).
struct AcceptRequest {
  static constexpr uint16_t kType = 2;
  uint64_t question = 0;
  MessageId message{};
  BodyInfo body;
  std::string stored;
  absl::Time created;
  std::vector<Envelope> envelopes;
  template <class A>
  void Fields(A& a) {
    a(question, message, body, stored, created, envelopes);
  }
};

// A piece of a large body.  Each is answered by ChunkStored; a session has at
// most kChunkCredits unanswered and stops reading from its client meanwhile.
inline constexpr int kChunkCredits = 4;
struct ChunkRequest {
  static constexpr uint16_t kType = 3;
  uint64_t question = 0;
  MessageId message{};
  SessionId session{};
  uint32_t index = 0;
  std::string bytes;
  template <class A>
  void Fields(A& a) {
    a(question, message, session, index, bytes);
  }
};

// The body is given up (RSET, disconnect, refused).  No answer.
struct DropBody {
  static constexpr uint16_t kType = 4;
  MessageId message{};
  template <class A>
  void Fields(A& a) {
    a(message);
  }
};

// How many sessions; sent when it changed, at most once a second.
struct SessionCounts {
  static constexpr uint16_t kType = 5;
  uint64_t now = 0;                          // open
  uint64_t inet4 = 0, inet6 = 0, local = 0;  // connected since start
  uint64_t closed = 0;                       // since start
  uint64_t tls = 0, smtps = 0;  // open, by STARTTLS, from the start
  // Since start: what a limit made us refuse or end.
  uint64_t refused_sessions = 0;    // max-sessions, of this `receive`
  uint64_t refused_by_source = 0;   // max-sessions-per-source
  uint64_t refused_by_network = 0;  // max-sessions-per-network
  uint64_t refused_connects = 0;    // max-connects-per-source
  uint64_t refused_mails = 0;       // max-mails-per-source
  uint64_t timeouts = 0;            // command-timeout, data-timeout
  uint64_t slow_messages = 0;       // min-data-rate
  uint64_t errors = 0;              // max-errors
  uint64_t bad_recipients = 0;      // max-bad-rcpt
  uint64_t commands = 0;            // max-commands
  uint64_t auth_failures = 0;       // max-auth-failures
  uint64_t recipients = 0;          // max-rcpt
  uint64_t messages = 0;            // max-mails
  uint64_t message_size = 0;        // max-message-size
  template <class A>
  void Fields(A& a) {
    a(now, inet4, inet6, local, closed, tls, smtps);
    a(refused_sessions, refused_by_source, refused_by_network);
    a(refused_connects, refused_mails, timeouts, slow_messages);
    a(errors, bad_recipients, commands, auth_failures);
    a(recipients, messages, message_size);
  }
  // Adds what counts since start; with `open`, what is open, too.
  void Add(const SessionCounts& other, bool open) {
    if (open) {
      now += other.now;
      tls += other.tls;
      smtps += other.smtps;
    }
    inet4 += other.inet4;
    inet6 += other.inet6;
    local += other.local;
    closed += other.closed;
    refused_sessions += other.refused_sessions;
    refused_by_source += other.refused_by_source;
    refused_by_network += other.refused_by_network;
    refused_connects += other.refused_connects;
    refused_mails += other.refused_mails;
    timeouts += other.timeouts;
    slow_messages += other.slow_messages;
    errors += other.errors;
    bad_recipients += other.bad_recipients;
    commands += other.commands;
    auth_failures += other.auth_failures;
    recipients += other.recipients;
    messages += other.messages;
    message_size += other.message_size;
  }
};

// ---- queue -> receive

struct Lease {
  static constexpr uint16_t kType = 6;
  MessageId first{};
  uint32_t count = 0;
  template <class A>
  void Fields(A& a) {
    a(first, count);
  }
};

enum class AcceptResult : uint8_t {
  kOk = 1,
  kNoRoom = 2,  // 452 4.3.1
  kFailed = 3,  // 451 4.3.0
};
struct Accepted {
  static constexpr uint16_t kType = 7;
  uint64_t question = 0;
  AcceptResult result = AcceptResult::kFailed;
  template <class A>
  void Fields(A& a) {
    a(question, result);
  }
};
struct ChunkStored {
  static constexpr uint16_t kType = 8;
  uint64_t question = 0;
  AcceptResult result = AcceptResult::kFailed;
  template <class A>
  void Fields(A& a) {
    a(question, result);
  }
};

// `pause smtp` / `resume smtp`, and whether there is room (452 at MAIL).
struct SmtpState {
  static constexpr uint16_t kType = 9;
  bool paused = false;
  bool room = true;
  template <class A>
  void Fields(A& a) {
    a(paused, room);
  }
};

// ---- receive (or queue, for reports) -> lookup

// Where does mail for this recipient go?  (reference part 1, section 3)
struct ExpandRequest {
  static constexpr uint16_t kType = 10;
  uint64_t question = 0;
  std::string tag, sockaddr, rdns, helo;
  bool authenticated = false;
  std::string username;
  bool tls = false;
  std::string smtpname;  // of the listener
  MailAddress sender;
  MailAddress rcpt;
  template <class A>
  void Fields(A& a) {
    a(question, tag, sockaddr, rdns, helo, authenticated, username, tls);
    a(smtpname, sender, rcpt);
  }
};

// One place it goes to.  The fields of Envelope of the same names.
struct ExpandedRecipient {
  DeliveryKind kind = DeliveryKind::kMta;
  std::string action;
  MailAddress dest;
  std::string mda_user, mda_subaddress, mda_exec;
  std::string routing_key;
  absl::Duration ttl = absl::ZeroDuration();
  bool internal = false;  // kFlagInternal
  template <class A>
  void Fields(A& a) {
    a(kind, action, dest, mda_user, mda_subaddress, mda_exec, routing_key);
    a(ttl, internal);
  }
};
struct ExpandAnswer {
  static constexpr uint16_t kType = 11;
  uint64_t question = 0;
  // Empty: accepted.  Else the reply without the address: "550 Invalid
  // recipient", "451 Temporary failure", ...; the asker adds ": <rcpt>".
  std::string refusal;
  std::vector<ExpandedRecipient> recipients;
  template <class A>
  void Fields(A& a) {
    a(question, refusal, recipients);
  }
};

// ---- receive -> relay: who is this client?

struct ReverseRequest {
  static constexpr uint16_t kType = 12;
  uint64_t question = 0;
  std::string address;  // "192.0.2.1" or "2001:db8::1"
  template <class A>
  void Fields(A& a) {
    a(question, address);
  }
};
struct ReverseAnswer {
  static constexpr uint16_t kType = 13;
  enum class Confirmed : uint8_t { kPass = 1, kFail = 2, kError = 3 };
  uint64_t question = 0;
  std::string name;  // empty: none
  Confirmed fcrdns = Confirmed::kFail;
  template <class A>
  void Fields(A& a) {
    a(question, name, fcrdns);
  }
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DOOR_RECEIVE_MESSAGES_H_
