// The commands of an SMTP or LMTP client, what a server offers in its answer to
// EHLO, and what can't be sent to one that does not offer enough (RFC 5321
// section 4.1.1, RFC 1870, 2852, 2920, 3030, 3461, 6152, 6531, 6710, 8689,
// 9422).
#ifndef HOLDFAST_PROTOCOL_SMTP_CLIENT_COMMANDS_H_
#define HOLDFAST_PROTOCOL_SMTP_CLIENT_COMMANDS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "protocol/envelope.h"
#include "protocol/smtp_client_reply.h"

namespace holdfast {

struct PeerExtensions {
  bool starttls = false;
  bool pipelining = false;
  bool dsn = false;
  bool eight_bit_mime = false;
  bool size = false;
  uint64_t max_size = 0;  // 0: not said
  bool smtputf8 = false;
  bool chunking = false;
  bool binarymime = false;
  bool requiretls = false;
  bool mt_priority = false;
  // AUTH's mechanisms, as they came.
  bool auth = false;
  std::vector<std::string> auth_mechanisms;
  bool deliver_by = false;
  int64_t min_deliver_by = 0;  // seconds; 0: any
  // LIMITS; 0: none.
  uint32_t mail_max = 0;         // transactions of a session
  uint32_t rcpt_max = 0;         // recipients of a transaction
  uint32_t rcpt_domain_max = 0;  // their domains
};

// Keywords are recognised in upper case only, as in the reference.
PeerExtensions ParseEhloReply(const SmtpReply& reply);

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
  uint64_t wire_bytes = 0;        // of the body with CRLF line ends
  bool eight_bit = false;         // the message has octets above 127
  bool header_eight_bit = false;  // its header has
  std::vector<Recipient> recipients;
  // EnvelopeFlag: what the sender asked for.
  uint32_t flags = 0;
  int priority = 0;
  struct DeliverBy {
    int64_t seconds = 0;    // that are left; may be negative in mode N
    bool returned = false;  // mode R, else N
    bool trace = false;
  };
  std::optional<DeliverBy> deliver_by;

  bool binary() const { return (flags & kFlagBinaryMime) != 0; }
};

// Why something can't be sent to this server.
struct SendObstacle {
  EnhancedStatus status;
  const char* text;
};

// Of the message as a whole; `tls`: the session is protected by TLS and the
// server's name was verified.
std::optional<SendObstacle> ObstacleOf(const SmtpTransaction& transaction,
                                       const PeerExtensions& offered, bool tls);
// Of one address.
std::optional<SendObstacle> ObstacleOf(absl::string_view path,
                                       const PeerExtensions& offered);

// The message must be brought to 7 bits (MimeDowngrade) for this server.
bool NeedsDowngrade(const SmtpTransaction& transaction,
                    const PeerExtensions& offered);

// Whether MAIL says SMTPUTF8 (RFC 6531 section 3.4): an address, or anything
// in a message that was so declared, is not ASCII, and the server takes it.
bool SendsSmtpUtf8(const SmtpTransaction& transaction,
                   const PeerExtensions& offered);

// Whether the path can stand between < and > without ending there: no control
// characters, and no space or angle bracket outside of quotes.
bool IsSafePath(absl::string_view path);

// With the parameters that the server offers and the message needs; CRLF
// included.  The size of a message that is converted is not known: SIZE= is
// left out.
void AppendMailCommand(const SmtpTransaction& transaction,
                       const PeerExtensions& offered, std::string* out);
void AppendRcptCommand(const SmtpTransaction::Recipient& recipient,
                       const PeerExtensions& offered, std::string* out);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_SMTP_CLIENT_COMMANDS_H_
