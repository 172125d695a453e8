// The message of SASL's PLAIN mechanism (RFC 4616): [authzid] NUL user NUL
// password.
#ifndef HOLDFAST_PROTOCOL_SASL_PLAIN_H_
#define HOLDFAST_PROTOCOL_SASL_PLAIN_H_

#include <cstddef>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "protocol/secret.h"

namespace holdfast {

// Of any SASL response after base64, and of a user's name (reference part 1,
// section 4.5).
inline constexpr size_t kMaxSaslResponse = 1023;
inline constexpr size_t kMaxSaslUser = 255;

struct PlainCredentials {
  // The identity to act as is read and ignored, as the reference does: nobody
  // can act as another.
  std::string user;
  Secret password;
};

// nullopt (reply 501) unless there are exactly two NULs, the user has 1 to 255
// octets, the password one at least, and neither has a CR or LF.
std::optional<PlainCredentials> ParseSaslPlain(absl::string_view message);

// Whether it looks like the name of a SASL mechanism, or is one of PLAIN's and
// LOGIN's: RFC 4422 section 3.1 has capital letters.  What is not may be a
// password, and is not repeated.
bool IsMechanismName(absl::string_view text);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_SASL_PLAIN_H_
