// The arguments of MAIL and RCPT: a path between angle brackets and ESMTP
// parameters (RFC 5321 section 4.1.2; reference part 1, section 4.6).
//
// A local part is a dot-atom of the reference's characters or a quoted string,
// which is kept with its quotes, quoted no more than it must be: that is its
// one printed form, and MailAddress::user begins with '"' only if it cannot be
// written without.  Octets above 127 are UTF-8 and need SMTPUTF8 (RFC 6531).  A
// source route is accepted and dropped.
#ifndef HOLDFAST_PROTOCOL_SMTP_PATH_H_
#define HOLDFAST_PROTOCOL_SMTP_PATH_H_

#include <cstddef>
#include <optional>
#include <string>
#include <variant>

#include "absl/strings/string_view.h"
#include "protocol/mail_address.h"
#include "protocol/reply.h"
#include "protocol/smtp_parameters.h"

namespace holdfast {

// RFC 5321 section 4.5.3.1 asks for 64 and 255; the reference takes 255.
inline constexpr size_t kMaxLocalPartBytes = 255;
inline constexpr size_t kMaxDomainBytes = 255;

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
  ParameterRules rules;
};

// What follows "MAIL FROM:", or the reply that refuses it.
std::variant<ReversePath, Reply> ParseMailArgument(absl::string_view argument,
                                                   const PathOptions& options);
// What follows "RCPT TO:".
std::variant<ForwardPath, Reply> ParseRcptArgument(absl::string_view argument,
                                                   const PathOptions& options);

// As they were written: what stands between the angle brackets of either
// argument, and the parameters behind them.  Of what is no path the first word
// is the text, without such brackets.
struct WrittenPath {
  absl::string_view text, parameters;
};
WrittenPath ReadPath(absl::string_view argument);

// A host name, or an address literal in brackets, as HELO, EHLO and the right
// side of an address have it; `utf8`: or a name with UTF-8 in it.
bool IsValidDomain(absl::string_view domain, bool utf8 = false);
// The printed form of what may stand on the left side of an address.  nullopt:
// that may not.
std::optional<std::string> CanonicalLocalPart(absl::string_view local_part,
                                              bool utf8);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_SMTP_PATH_H_
