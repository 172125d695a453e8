#include "config/relay_sender.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "protocol/idna.h"

namespace holdfast {
namespace {

// RFC 5321 section 4.1.2: what local parts are made of without quotes.
bool IsAtext(char c) {
  constexpr absl::string_view kOthers = "!#$%&'*+-/=?^_`{|}~";
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
         kOthers.find(c) != absl::string_view::npos;
}

bool IsAtom(absl::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    if (!IsAtext(c) && c != '.') return false;
  }
  return true;
}

}  // namespace

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

MailAddress VerpSender(const MailAddress& sender, const MailAddress& dest,
                       char delimiter) {
  if (sender.user.empty() || sender.domain.empty()) return sender;
  if (sender.user.front() == '"' || !IsAtom(dest.user) || !IsAtext(delimiter)) {
    return sender;
  }
  const absl::StatusOr<std::string> domain = DomainToAscii(dest.domain);
  if (!domain.ok() || !IsAtom(*domain)) return sender;
  MailAddress out = sender;
  absl::StrAppend(&out.user, std::string(1, delimiter), dest.user, "=",
                  *domain);
  return out.user.size() > kMaxVerpLocalPart ? sender : out;
}

MailAddress RelaySender(const Action& action, const MailAddress& sender,
                        const MailAddress& rcpt, const MailAddress& dest,
                        const SenderRewriting& with) {
  const MailAddress out = RewriteSender(sender, action.mail_from);
  if (action.srs && with.srs != nullptr && !(rcpt == dest)) {
    return with.srs->Encode(out, rcpt.domain, with.now);
  }
  return action.verp ? VerpSender(out, dest, with.delimiter) : out;
}

}  // namespace holdfast
