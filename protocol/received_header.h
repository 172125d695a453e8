// The trace header this server adds (RFC 5321 section 4.4; reference part 1,
// section 4.8).
#ifndef HOLDFAST_PROTOCOL_RECEIVED_HEADER_H_
#define HOLDFAST_PROTOCOL_RECEIVED_HEADER_H_

#include <string>

#include "absl/time/time.h"
#include "protocol/ids.h"

namespace holdfast {

struct ReceivedFacts {
  bool mask_source = false;  // leave the client out
  std::string helo;
  std::string rdns;            // "<unknown>" if there is none
  std::string address;         // "192.0.2.1", "[2001:db8::1]" or "local"
  std::string by;              // the name this listener goes by
  bool extended = false;       // EHLO
  bool smtputf8 = false;       // of the message: "UTF8SMTP" (RFC 6531, 3.7.3)
  bool authenticated = false;  // the local socket is
  // "TLSv1.3:TLS_AES_256_GCM_SHA384:256:NO"; empty: not inside TLS.
  std::string tls;
  bool tell_auth = false;  // `received-auth`; inside TLS only
  std::string username;    // of tell_auth
  MessageId message{};
  std::string recipient;  // "u@d"; empty unless there is exactly one
  absl::Time now;
  absl::TimeZone zone;
};

// The whole header, with LF line ends.
std::string ReceivedHeader(const ReceivedFacts& facts);

// "[192.0.2.1]", "[2001:db8::1]", "[local]": an address as replies and headers
// show it.
std::string BracketedAddress(absl::string_view address);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_RECEIVED_HEADER_H_
