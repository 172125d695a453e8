// What a client session says and hears and what its transactions come to, for
// those who only watch (smtpd-filters(7), smtp-out).
#ifndef HOLDFAST_PROTOCOL_SMTP_CLIENT_WATCHER_H_
#define HOLDFAST_PROTOCOL_SMTP_CLIENT_WATCHER_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace holdfast {

struct SmtpClientEvent {
  enum class Kind : uint8_t {
    kClientLine,
    kServerLine,
    kGreeting,  // the banner was good
    kIdentify,  // EHLO, HELO or LHLO was said
    kAuth,      // kOk, kPermFail: refused, kTempFail: it went wrong
    kMail,      // a transaction has begun
    kEnvelope,  // RCPT was said
    kRcpt,      // and answered
    kData,      // DATA was answered
    kCommit,    // the server has taken the message
    kRollback,  // the transaction is given up
  };
  enum class Result : uint8_t { kOk, kTempFail, kPermFail };

  Kind kind;
  // A line without its end, secrets masked; kGreeting: the first word of the
  // banner if it is a domain, else empty; kIdentify: the command; kAuth: the
  // user.  Valid during the call.
  absl::string_view text = {};
  Result result = Result::kOk;  // kAuth, kRcpt, kData
  size_t recipient = 0;         // kEnvelope, kRcpt
  uint64_t octets = 0;          // kCommit: of the message as it was sent
};

// Told during calls of the session, which it must not touch.
//
// Commands are told one at a time, each after all that the reply to the one
// before it has led to, also where several were sent together.  A RCPT that is
// refused is told as kRollback and then kRcpt, although the transaction goes on
// if there are others (reference part 2, section 7.4).
class SmtpClientWatcher {
 public:
  virtual ~SmtpClientWatcher() = default;
  virtual void OnEvent(const SmtpClientEvent& event) = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_SMTP_CLIENT_WATCHER_H_
