#include "server/queue/lmtp_batch.h"

#include <algorithm>
#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "config/delivery_way.h"

namespace holdfast {

namespace {

bool IsAscii(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isascii(static_cast<unsigned char>(c));
  });
}

// Whether what the server hears is ASCII: then a header in UTF-8 is no reason
// to need SMTPUTF8 of it, at the end of the way.
bool IsAscii(const BatchMessage& message, bool rcpt_to) {
  return IsAscii(message.sender.ToString()) &&
         std::all_of(
             message.recipients.begin(), message.recipients.end(),
             [rcpt_to](const BatchMessage::Recipient& r) {
               return IsAscii(rcpt_to ? r.dest.ToString() : r.mailbox_user);
             });
}

}  // namespace

bool GoesByLmtp(const Action& action, const Envelope& envelope) {
  return envelope.kind == DeliveryKind::kMda && envelope.mda_exec.empty() &&
         WayOf(action) == DeliveryWay::kLmtp;
}

RelayTarget LmtpTarget(const Action& action) {
  const std::optional<LmtpDestination> to = ParseLmtpDestination(action.lmtp);
  RelayTarget target;
  target.action = action.name;
  if (!to) return target;
  if (!to->path.empty()) {
    target.domain = absl::StrCat("lmtp:", to->path);
  } else {
    const bool literal = absl::StrContains(to->host, ':');
    target.domain = absl::StrCat("lmtp://", literal ? "[" : "", to->host,
                                 literal ? "]" : "", ":", to->port);
  }
  return target;
}

void EndOfTheWay(const Action& action, std::vector<BatchMessage>* messages) {
  for (BatchMessage& message : *messages) {
    message.dsn_ret = DsnReturn::kUnset;
    message.dsn_envid.clear();
    message.priority = 0;
    message.deliver_by = absl::UnixEpoch();
    message.deliver_by_trace = false;
    // A Unix socket is this host: there is no way that could lack TLS.
    if (absl::StartsWith(action.lmtp, "/"))
      message.flags &= ~static_cast<uint32_t>(kFlagRequireTls);
    if (IsAscii(message, action.lmtp_rcpt_to))
      message.flags &= ~static_cast<uint32_t>(kFlagSmtpUtf8);
    for (BatchMessage::Recipient& recipient : message.recipients) {
      recipient.dsn_notify = 0;
      recipient.dsn_orcpt.clear();
    }
  }
}

}  // namespace holdfast
