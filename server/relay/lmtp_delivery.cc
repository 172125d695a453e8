#include "server/relay/lmtp_delivery.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/deliver/delivery_text.h"

namespace holdfast {
namespace {

constexpr char kServiceUnavailable[] = "service unavailable";  // status 69

bool IsReply(absl::string_view text) {
  return text.size() >= 3 && absl::ascii_isdigit(text[0]) &&
         absl::ascii_isdigit(text[1]) && absl::ascii_isdigit(text[2]);
}

}  // namespace

bool IsLmtpAction(const RelayTarget& target) {
  return !target.smarthost && absl::StartsWith(target.domain, "lmtp:");
}

std::string LmtpRecipient(const Action* action,
                          const BatchMessage::Recipient& recipient) {
  const bool address = action != nullptr && action->lmtp_rcpt_to;
  return address ? recipient.dest.ForPath() : recipient.mailbox_user;
}

std::string LmtpTrace(const BatchMessage& message,
                      const std::vector<size_t>& recipients) {
  if (recipients.size() == 1)
    return TraceHeader(message.sender, message.recipients[recipients[0]].rcpt);
  return ReturnPath(message.sender);
}

void AsLocalDelivery(WorkerOutcome* outcome) {
  // Success reads "Delivered", whatever the server says to it.
  if (outcome->result == WorkerOutcome::Result::kOk) {
    outcome->text.clear();
    return;
  }
  if (outcome->result != WorkerOutcome::Result::kTempFail &&
      outcome->result != WorkerOutcome::Result::kPermFail)
    return;
  const bool permanent = outcome->result == WorkerOutcome::Result::kPermFail;
  outcome->text = ErrorText(
      permanent ? kServiceUnavailable : kTemporaryFailure,
      Quoted(absl::StrCat(
          "mail.lmtp: ", IsReply(outcome->text) ? "LMTP server error: " : "",
          outcome->text)));
}

}  // namespace holdfast
