#include "config/relay_sender.h"

#include <utility>

namespace holdfast {

std::optional<SrsRewriter> MakeSrs(const Srs& srs, SrsRewriter::Sha1 sha1) {
  if (srs.key.empty()) return std::nullopt;
  return SrsRewriter(srs.key, srs.backup_key, srs.ttl_days, std::move(sha1));
}

MailAddress RewriteSender(const MailAddress& sender,
                          absl::string_view mail_from) {
  if (mail_from.empty() || sender.IsNull()) return sender;
  MailAddress out = SplitAddress(mail_from);
  if (out.user.empty()) out.user = sender.user;
  if (out.domain.empty()) out.domain = sender.domain;
  return out;
}

MailAddress RelaySender(const Action& action, const MailAddress& sender,
                        const MailAddress& rcpt, const MailAddress& dest,
                        const SrsRewriter* srs, absl::Time now) {
  const MailAddress out = RewriteSender(sender, action.mail_from);
  if (!action.srs || srs == nullptr || rcpt == dest) return out;
  return srs->Encode(out, rcpt.domain, now);
}

}  // namespace holdfast
