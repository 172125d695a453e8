#include "server/queue/batch_builder.h"

#include <algorithm>
#include <utility>

#include "server/queue/lmtp_batch.h"

namespace holdfast {
namespace {

BatchMessage StartMessage(const Envelope& e, const LoadedMessage& loaded,
                          const MailAddress& sender) {
  BatchMessage m;
  m.message = MessageOf(e.id);
  m.sender = sender;
  m.dsn_ret = e.dsn_ret;
  m.dsn_envid = e.dsn_envid;
  m.created = e.created;
  m.body = loaded.row.body;
  m.stored = loaded.stored;
  m.flags = e.flags;
  m.priority = e.priority;
  m.deliver_by = e.deliver_by;
  m.deliver_by_trace = e.deliver_by_trace;
  return m;
}

BatchMessage::Recipient RecipientOf(const Envelope& e) {
  BatchMessage::Recipient r;
  r.envelope = e.id;
  r.rcpt = e.rcpt;
  r.dest = e.dest;
  r.dsn_notify = e.dsn_notify;
  r.dsn_orcpt = e.dsn_orcpt;
  r.subaddress = e.mda_subaddress;
  r.in_doubt = (e.flags & kFlagInDoubt) != 0;
  r.exec = e.mda_exec;
  r.mailbox_user = e.mda_user;
  return r;
}

}  // namespace

size_t BatchCount(size_t messages, size_t free) {
  if (messages == 0 || free == 0) return 0;
  const size_t full = (messages + kMaxBatchMessages - 1) / kMaxBatchMessages;
  // Two at once for two messages; more sessions only for four messages each.
  const size_t quick =
      std::max<size_t>(std::min<size_t>(messages, 2), messages / 4);
  return std::min(free, std::max(full, quick));
}

std::string BackupNameFor(const Action& action, const Envelope& envelope) {
  if (!action.backup) return "";
  return action.backup_mx.empty() ? envelope.smtpname : action.backup_mx;
}

std::vector<PreparedBatch> BuildBatches(LaneContents contents,
                                        const Action& action,
                                        size_t max_batches,
                                        const SenderRewriting& with) {
  const size_t messages = contents.messages.size();
  const size_t count = BatchCount(messages, max_batches);
  std::vector<PreparedBatch> batches;
  if (count == 0) return batches;
  const size_t size =
      std::min(kMaxBatchMessages, (messages + count - 1) / count);
  for (Envelope& e : contents.envelopes) {
    const LoadedMessage& loaded = contents.messages[MessageOf(e.id)];
    if (!loaded.status.ok()) continue;
    const std::string backup_name = BackupNameFor(action, e);
    const bool lmtp = GoesByLmtp(action, e);
    const std::string mailbox_user = lmtp ? "" : e.mda_user;
    const MailAddress sender =
        RelaySender(action, e.sender, e.rcpt, e.dest, with);
    PreparedBatch* batch = batches.empty() ? nullptr : &batches.back();
    const bool same_target =
        batch != nullptr && batch->backup_name == backup_name &&
        batch->lmtp == lmtp && batch->mailbox_user == mailbox_user;
    const bool known =
        same_target && batch->messages.back().message == MessageOf(e.id);
    const bool same_sender = known && batch->messages.back().sender == sender;
    const bool same_message =
        same_sender &&
        batch->messages.back().recipients.size() < kMaxBatchRecipients;
    // Under another sender it is one more transaction, but no more work.
    const size_t limit = known && !same_sender ? kMaxBatchMessages : size;
    if (!same_target || (!same_message && batch->messages.size() >= limit)) {
      if (batches.size() == max_batches) break;
      batch = &batches.emplace_back();
      batch->backup_name = backup_name;
      batch->mailbox_user = mailbox_user;
      batch->lmtp = lmtp;
    }
    if (!same_message || batch->messages.empty()) {
      batch->messages.push_back(StartMessage(e, loaded, sender));
    }
    batch->messages.back().recipients.push_back(RecipientOf(e));
    batch->envelopes.push_back(std::move(e));
  }
  return batches;
}

}  // namespace holdfast
