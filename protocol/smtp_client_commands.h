// The commands of an SMTP or LMTP client, and what a server offers in its
// answer to EHLO (RFC 5321 section 4.1.1, RFC 1870, 2920, 3461, 6152).
#ifndef HOLDFAST_PROTOCOL_SMTP_CLIENT_COMMANDS_H_
#define HOLDFAST_PROTOCOL_SMTP_CLIENT_COMMANDS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "protocol/envelope.h"
#include "protocol/smtp_client_reply.h"

namespace holdfast {

struct SmtpExtensions {
  bool starttls = false;
  bool pipelining = false;
  bool dsn = false;
  bool eight_bit_mime = false;
  bool size = false;
  uint64_t max_size = 0;  // 0: not said
};

// Keywords are recognised in upper case only, as in the reference.
SmtpExtensions ParseEhloReply(const SmtpReply& reply);

// One message for one or more recipients.
struct SmtpTransaction {
  struct Recipient {
    std::string path;  // what stands between < and >
    uint8_t dsn_notify = 0;
    std::string dsn_orcpt;
  };
  std::string sender;  // what stands between < and >; empty: null
  DsnReturn dsn_ret = DsnReturn::kUnset;
  std::string dsn_envid;
  uint64_t wire_bytes = 0;  // of the body with CRLF line ends
  bool eight_bit = false;
  std::vector<Recipient> recipients;
};

// Whether the path can stand between < and > without ending there: no control
// characters, and no space or angle bracket outside of quotes.
bool IsSafePath(absl::string_view path);

// With the parameters that the server offers and the message needs; CRLF
// included.
void AppendMailCommand(const SmtpTransaction& transaction,
                       const SmtpExtensions& offered, std::string* out);
void AppendRcptCommand(const SmtpTransaction::Recipient& recipient,
                       const SmtpExtensions& offered, std::string* out);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_SMTP_CLIENT_COMMANDS_H_
