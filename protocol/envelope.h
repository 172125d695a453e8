// One recipient of one message and the state of its delivery.  RFC 5321 calls
// the sender with all recipients "the envelope"; here, as in the reference, an
// envelope has exactly one recipient.
#ifndef HOLDFAST_PROTOCOL_ENVELOPE_H_
#define HOLDFAST_PROTOCOL_ENVELOPE_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/attempt.h"
#include "protocol/ids.h"
#include "protocol/mail_address.h"

namespace holdfast {

// Who takes the envelope further.
enum class DeliveryKind : uint8_t {
  kMda = 1,  // delivery on this host
  kMta = 2,  // relay to another host
};

// What a sender asked to be told (RFC 3461 section 4.1).  Bits.
enum DsnNotify : uint8_t {
  kNotifySuccess = 1,
  kNotifyFailure = 2,
  kNotifyDelay = 4,
  kNotifyNever = 8,
};

enum class DsnReturn : uint8_t { kUnset = 0, kFull = 1, kHeaders = 2 };

enum EnvelopeFlag : uint32_t {
  kFlagAuthenticated = 1,  // session was authenticated, or the local socket
  kFlagBounce = 2,         // the message is a report of ours
  kFlagInternal = 4,       // made by an alias, a forward or by us
  kFlagSuspended = 8,      // an operator paused it
  kFlagHeld = 16,          // its action is gone, or an operator holds it
  kFlagInDoubt = 32,       // an attempt ended without an answer; promise P3
  kFlagRequireTls = 64,    // REQUIRETLS (RFC 8689)
  kFlagSmtpUtf8 = 128,     // SMTPUTF8 (RFC 6531)
  kFlagBinaryMime = 256,   // BODY=BINARYMIME (RFC 3030)
  kFlag8BitMime = 512,     // BODY=8BITMIME (RFC 6152)
  kFlagDeliverByReturn = 1024,  // DELIVERBY mode R: return when late; else N
  kFlagTls = 2048,              // came over TLS
  kFlagMoving = 4096,           // `queue export --move` is taking it away
};

// An enhanced status code (RFC 3463) as envelopes keep it: class 2, 4 or 5 (0:
// none yet) and the two digits of "class.x.y" as x * 10 + y.  Of the details
// above 9 those of security (7.10, 7.11, ... 7.165: "7.30", REQUIRETLS) are
// kept, as 90 + y; others can't be.
struct EnhancedStatus {
  uint8_t klass = 0;
  uint8_t code = 0;

  // A detail that can't be kept becomes 0, and so does such a subject.
  static constexpr EnhancedStatus Make(int klass, int subject, int detail) {
    int code = 0;
    if (subject == 7 && detail > 9 && detail <= 165)
      code = kLongDetails - 10 + detail;
    else if (subject >= 0 && subject <= 9)
      code = subject * 10 + (detail >= 0 && detail <= 9 ? detail : 0);
    return {static_cast<uint8_t>(klass), static_cast<uint8_t>(code)};
  }
  constexpr int subject() const { return code < kLongDetails ? code / 10 : 7; }
  constexpr int detail() const {
    return code < kLongDetails ? code % 10 : code - kLongDetails + 10;
  }

  static constexpr int kLongDetails = 100;

  template <class Archive>
  void Fields(Archive& a) {
    a(klass, code);
  }
};

struct Envelope {
  EnvelopeId id{};
  DeliveryKind kind = DeliveryKind::kMta;
  std::string action;    // name of the action ("dispatcher")
  std::string tag;       // of the listener
  std::string smtpname;  // name the listener goes by; Reporting-MTA of reports
  std::string helo;      // what the client said
  std::string hostname;  // reverse name of the client
  std::string username;  // authenticated as; empty: not
  std::string sockaddr;  // "local", "192.0.2.1" or "[2001:db8::1]"
  MailAddress sender;
  MailAddress rcpt;  // as accepted in RCPT TO
  MailAddress dest;  // after expansion
  absl::Time created;
  absl::Time expires;
  absl::Time last_try = absl::UnixEpoch();
  absl::Time last_bounce = absl::UnixEpoch();  // created + delay last warned of
  uint32_t retry = 0;                          // temporary failures so far
  uint32_t flags = 0;                          // EnvelopeFlag
  int8_t priority = 0;                         // MT-PRIORITY; higher goes first

  uint8_t dsn_notify = 0;  // DsnNotify
  DsnReturn dsn_ret = DsnReturn::kUnset;
  std::string dsn_envid;  // as the client encoded it (xtext)
  std::string dsn_orcpt;  // "rfc822;xtext"

  EnhancedStatus status;   // of the last attempt
  std::string error_line;  // of the last attempt

  std::string mda_user;        // whose mailbox (kMda)
  std::string mda_subaddress;  // what stood behind the '+' (kMda)
  std::string mda_exec;        // "|command" or "/file" from an alias (kMda)

  // Not before this (FUTURERELEASE, RFC 4865); the epoch: at once.
  absl::Time hold_until = absl::UnixEpoch();
  // Deliver before this or act by kFlagDeliverByReturn (RFC 2852); the epoch:
  // no such wish.
  absl::Time deliver_by = absl::UnixEpoch();
  bool deliver_by_trace = false;  // DELIVERBY with T

  // The latest, oldest first; at most kMaxAttemptsBytes.
  std::vector<Attempt> attempts;

  // When it may go first: its life, its tries and its warnings count from here.
  absl::Time Released() const { return std::max(created, hold_until); }

  // What, with kind and action, names the destination: the recipient's domain
  // in lower case (kMta) or the user (kMda).
  std::string routing_key;

  template <class Archive>
  void Fields(Archive& a) {
    a(id, kind, action, tag, smtpname, helo, hostname, username, sockaddr);
    a(sender, rcpt, dest, created, expires, last_try, last_bounce);
    a(retry, flags, priority, dsn_notify, dsn_ret, dsn_envid, dsn_orcpt);
    a(status, error_line, mda_user, mda_subaddress, mda_exec, routing_key);
    if (a.More()) a(hold_until, deliver_by, deliver_by_trace);
    if (a.More()) a(attempts);
  }
};

// The reference's text form: `smtpctl show envelope`, one "field: value" a
// line, empty fields left out (part 2, section 1.2).  What it does not know
// (extensions, mt-priority, hold-until, deliver-by) follows, if it is set.
std::string EnvelopeToText(const Envelope& envelope);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_ENVELOPE_H_
