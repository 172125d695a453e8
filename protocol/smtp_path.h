// The arguments of MAIL and RCPT: a path between angle brackets and ESMTP
// parameters (RFC 5321 section 4.1.2, RFC 1870, 3461, 6152; reference part 1,
// section 4.6).
//
// As in the reference, a local part is a dot-atom: quoted local parts and
// octets above 127 are refused.  A source route is accepted and dropped.
#ifndef HOLDFAST_PROTOCOL_SMTP_PATH_H_
#define HOLDFAST_PROTOCOL_SMTP_PATH_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "absl/strings/string_view.h"
#include "protocol/envelope.h"
#include "protocol/mail_address.h"
#include "protocol/reply.h"

namespace holdfast {

// RFC 5321 section 4.5.3.1 asks for 64 and 255; the reference takes 255.
inline constexpr size_t kMaxLocalPartBytes = 255;
inline constexpr size_t kMaxDomainBytes = 255;
inline constexpr size_t kMaxEnvidBytes = 100;  // RFC 3461 section 4.4
inline constexpr size_t kMaxOrcptBytes = 500;  // RFC 3461 section 4.2

struct MailParameters {
  // SIZE=, saturated: more digits than fit are merely too many octets.
  std::optional<uint64_t> size;
  DsnReturn dsn_ret = DsnReturn::kUnset;
  std::string dsn_envid;  // as the client encoded it
};

struct RcptParameters {
  uint8_t dsn_notify = 0;  // DsnNotify
  std::string dsn_orcpt;   // "rfc822;xtext"
};

struct ReversePath {
  MailAddress address;  // may be null
  MailParameters parameters;
};

struct ForwardPath {
  MailAddress address;
  RcptParameters parameters;
};

struct PathOptions {
  absl::string_view default_domain;  // completes an address that has none
  bool dsn = true;                   // whether DSN was offered
};

// What follows "MAIL FROM:", or the reply that refuses it.
std::variant<ReversePath, Reply> ParseMailArgument(absl::string_view argument,
                                                   const PathOptions& options);
// What follows "RCPT TO:".
std::variant<ForwardPath, Reply> ParseRcptArgument(absl::string_view argument,
                                                   const PathOptions& options);

// A host name, or an address literal in brackets, as HELO, EHLO and the right
// side of an address have it.
bool IsValidDomain(absl::string_view domain);
// A dot-atom of the reference's characters.
bool IsValidLocalPart(absl::string_view local_part);
// RFC 3461 section 4: graphic ASCII without '+' and '=', or "+" and two
// hexadecimal digits in upper case.  What is encoded is no control character.
bool IsValidXtext(absl::string_view text);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_SMTP_PATH_H_
