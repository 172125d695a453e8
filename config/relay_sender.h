// Who mail that is relayed comes from (reference part 2, section 3.11).
#ifndef HOLDFAST_CONFIG_RELAY_SENDER_H_
#define HOLDFAST_CONFIG_RELAY_SENDER_H_

#include <optional>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "protocol/mail_address.h"
#include "protocol/srs.h"

namespace holdfast {

// Nothing if there is no key.
std::optional<SrsRewriter> MakeSrs(const Srs& srs, SrsRewriter::Sha1 sha1);

// `mail-from`: its parts in place of those of the sender; the null sender stays
// as it is.
MailAddress RewriteSender(const MailAddress& sender,
                          absl::string_view mail_from);

// RFC 5321 section 4.5.3.1.1: what others must be able to take.
inline constexpr size_t kMaxVerpLocalPart = 64;

// Variable envelope return path: "list@x.test" becomes
// "list+bob=example.net@x.test" for bob@example.net, so that whatever comes
// back tells whom it is about.  `delimiter` is that of sub-addresses.  As it
// is: the null sender, what would be too long, quoted local parts, and
// recipients that cannot stand in a local part of ASCII.
MailAddress VerpSender(const MailAddress& sender, const MailAddress& dest,
                       char delimiter);

// What all envelopes' senders are rewritten with.
struct SenderRewriting {
  const SrsRewriter* srs = nullptr;  // null: there is no key
  absl::Time now = absl::UnixEpoch();
  char delimiter = '+';
};

// The sender of one envelope under `action`: `mail-from`, then `srs` if the
// mail was forwarded (its destination is another than the recipient was), else
// `verp`: an address that only we can read is nobody's to extend.
MailAddress RelaySender(const Action& action, const MailAddress& sender,
                        const MailAddress& rcpt, const MailAddress& dest,
                        const SenderRewriting& with);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_RELAY_SENDER_H_
