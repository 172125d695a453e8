#include "server/queue/dispatcher.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/vis.h"
#include "server/door/worker_messages.h"
#include "server/log/log.h"

namespace holdfast {

// Workers outlive us: their batches of an earlier start must not be met again.
Dispatcher::Dispatcher(Parts parts)
    : p_(std::move(parts)), last_batch_(p_.store->start_number() << 32) {}

// Hosts are looked up now, not when the mail came: a reload and a table that
// goes round work on queued mail.
absl::StatusOr<RelayTarget> Dispatcher::TargetOf(
    const DestinationRow& destination, const Action& action,
    const PreparedBatch& batch) const {
  RelayTarget target;
  target.action = action.name;
  target.backup_name = batch.backup_name;
  target.domain = destination.routing_key;
  if (action.host == nullptr) return target;
  const std::optional<std::string> url = action.host->Fetch();
  if (!url.has_value()) {
    LogWarn("warn: Failed to retrieve smarthost for envelope %s",
            ToString(batch.envelopes.front().id));
    return absl::NotFoundError("Cannot retrieve smarthost");
  }
  target.domain = *url;
  target.smarthost = true;
  return target;
}

absl::Status Dispatcher::Send(const DestinationRow& destination,
                              const Action& action, PreparedBatch batch) {
  const DeliveryKind kind = destination.kind;
  RelayTarget target;
  if (kind == DeliveryKind::kMta) {
    absl::StatusOr<RelayTarget> found = TargetOf(destination, action, batch);
    if (!found.ok()) return found.status();
    target = *std::move(found);
  }
  const WorkerId worker = p_.doors->Choose(
      kind, kind == DeliveryKind::kMta
                ? absl::StrCat(target.action, " ", target.domain)
                : destination.routing_key);
  if (worker == WorkerId(0)) return absl::UnavailableError("no worker");

  FlyingBatch flying;
  flying.key = {worker, BatchId(++last_batch_)};
  flying.destination = destination.id;
  flying.kind = kind;
  flying.round = destination.failures;
  const BatchKey key = flying.key;
  if (kind == DeliveryKind::kMta) {
    SendToRelay(key, destination.id, std::move(target),
                std::move(batch.messages));
  } else {
    SendToDeliver(key, destination, action, std::move(batch.messages));
  }
  p_.doors->CountBatch(worker, 1);
  Claim(key, batch.envelopes);
  p_.in_flight->Add(std::move(flying), std::move(batch.envelopes),
                    p_.loop->Now());
  return absl::OkStatus();
}

void Dispatcher::SendToRelay(const BatchKey& key, DestinationId destination,
                             RelayTarget target,
                             std::vector<BatchMessage> messages) {
  RelayBatch out;
  out.batch = key.second;
  out.destination = destination;
  out.target = std::move(target);
  out.messages = std::move(messages);
  p_.doors->Send(key.first, out);
}

void Dispatcher::SendToDeliver(const BatchKey& key,
                               const DestinationRow& destination,
                               const Action& action,
                               std::vector<BatchMessage> messages) {
  DeliverBatch out;
  out.batch = key.second;
  out.destination = destination.id;
  out.action = action.name;
  out.user = destination.routing_key;
  out.run_as = action.user.empty() ? out.user : action.user;
  out.store_uuid = p_.store->uuid();
  out.host = p_.config->server_name;
  out.messages = std::move(messages);
  p_.doors->Send(key.first, out);
}

void Dispatcher::Claim(const BatchKey& key,
                       const std::vector<Envelope>& envelopes) {
  ClaimEnvelopes claim;
  claim.worker = key.first;
  claim.batch = key.second;
  for (const Envelope& e : envelopes) claim.envelopes.push_back(e.id);
  p_.committer->Commit({std::move(claim)},
                       guard_.Wrap([this, key](BatchResult result) {
                         OnClaimed(key, result.operations[0].status);
                       }));
}

void Dispatcher::OnClaimed(const BatchKey& key, const absl::Status& status) {
  BatchClaimed claimed;
  claimed.batch = key.second;
  claimed.ok = status.ok();
  FlyingBatch* batch = p_.in_flight->FindBatch(key);
  if (status.ok()) {
    if (batch != nullptr) {
      batch->told = true;
      p_.doors->Send(key.first, claimed);
    }
    return;
  }
  // Something happened to one of them since it was read: an operator, its
  // deadline.  What is left is read again.
  p_.doors->Send(key.first, claimed);
  if (batch == nullptr) return;
  LogDebug("debug: queue: batch not claimed: %s",
           VisEncode(std::string(status.message())));
  const FlyingBatch gone = *batch;
  for (EnvelopeId id : gone.envelopes) p_.in_flight->Remove(id);
  if (!gone.over) p_.doors->CountBatch(key.first, -1);
  p_.on_claim_failed(gone, absl::IsResourceExhausted(status));
}

}  // namespace holdfast
