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

// The sender of one envelope under `action`: `mail-from`, then `srs` if the
// mail was forwarded (its destination is another than the recipient was).
// `srs` is null if there is no key.
MailAddress RelaySender(const Action& action, const MailAddress& sender,
                        const MailAddress& rcpt, const MailAddress& dest,
                        const SrsRewriter* srs, absl::Time now);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_RELAY_SENDER_H_
