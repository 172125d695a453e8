// The ESMTP parameters of MAIL and RCPT (RFC 5321 section 4.1.2; reference part
// 1, section 4.6).
//
//   MAIL  SIZE (RFC 1870)  BODY (RFC 6152, 3030)  AUTH (RFC 4954)
//         RET ENVID (RFC 3461)  SMTPUTF8 (RFC 6531)  REQUIRETLS (RFC 8689)
//         MT-PRIORITY (RFC 6710)  BY (RFC 2852)  HOLDFOR HOLDUNTIL (RFC 4865)
//   RCPT  NOTIFY ORCPT (RFC 3461)
//
// What is not offered, and what nobody knows, is refused as the reference does;
// none may stand twice.
#ifndef HOLDFAST_PROTOCOL_SMTP_PARAMETERS_H_
#define HOLDFAST_PROTOCOL_SMTP_PARAMETERS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/envelope.h"
#include "protocol/reply.h"

namespace holdfast {

inline constexpr size_t kMaxEnvidBytes = 100;  // RFC 3461 section 4.4
inline constexpr size_t kMaxOrcptBytes = 500;  // RFC 3461 section 4.2
inline constexpr int kMaxMtPriority = 9;       // and the least is -9

// What a server offers (EHLO), or may offer.
struct SmtpExtensions {
  bool eight_bit_mime = true;
  bool enhanced_status_codes = true;
  bool pipelining = true;
  bool size = true;
  bool dsn = true;
  bool smtputf8 = true;
  bool chunking = true;
  bool binarymime = true;  // with chunking only
  bool limits = true;
  bool requiretls = true;  // inside TLS only
  bool mt_priority = true;
  bool deliverby = true;
  bool futurerelease = true;
};

// BY=, RFC 2852.
struct DeliverBy {
  int64_t seconds = 0;  // mode N: may be negative, it is late already
  char mode = 'N';      // 'R': return when late; 'N': notify
  bool trace = false;
};

struct MailParameters {
  enum class Body : uint8_t { k7Bit, k8BitMime, kBinaryMime };

  // SIZE=, saturated: more digits than fit are merely too many octets.
  std::optional<uint64_t> size;
  DsnReturn dsn_ret = DsnReturn::kUnset;
  std::string dsn_envid;  // as the client encoded it
  bool smtputf8 = false;
  Body body = Body::k7Bit;
  bool requiretls = false;
  std::optional<int> mt_priority;  // -9 to 9
  std::optional<DeliverBy> deliver_by;
  std::optional<absl::Duration> hold_for;
  std::optional<absl::Time> hold_until;
  std::string auth;  // AUTH=, as the client encoded it
};

struct RcptParameters {
  uint8_t dsn_notify = 0;  // DsnNotify
  std::string dsn_orcpt;   // "rfc822;xtext"
};

// By what they are judged.
struct ParameterRules {
  SmtpExtensions offered;
  bool smtputf8 = false;  // RCPT: MAIL had SMTPUTF8
  // HOLDUNTIL counts from here.
  absl::Time now = absl::UnixEpoch();
  absl::Duration futurerelease_max = absl::Hours(24 * 7);
  absl::Duration deliverby_min = absl::ZeroDuration();
};

// `text`: what stands behind the path.  The reply that refuses it, if any.
std::optional<Reply> ParseMailParameters(absl::string_view text,
                                         const ParameterRules& rules,
                                         MailParameters* out);
std::optional<Reply> ParseRcptParameters(absl::string_view text,
                                         const ParameterRules& rules,
                                         RcptParameters* out);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_SMTP_PARAMETERS_H_
