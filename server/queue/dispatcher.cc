#include "server/queue/dispatcher.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "config/relay_key.h"
#include "protocol/vis.h"
#include "server/door/worker_messages.h"
#include "server/log/log.h"
#include "server/queue/lmtp_batch.h"

namespace holdfast {

// Workers outlive us: their batches of an earlier start must not be met again.
Dispatcher::Dispatcher(Parts parts)
    : p_(std::move(parts)),
      next_hops_(p_.config, p_.program_hops),
      last_batch_(p_.store->start_number() << 32) {}

absl::StatusOr<RelayTarget> Dispatcher::TargetOf(
    const DestinationRow& destination, const Action& action,
    const PreparedBatch& batch) {
  NextHops::Batch about;
  about.first = batch.envelopes.front().id;
  about.domain = destination.routing_key;
  about.backup_name = batch.backup_name;
  about.messages = batch.messages.size();
  about.destination = destination.id;
  if (IsNextHop(about.domain)) return next_hops_.Named(action, about.domain);
  return next_hops_.TargetOf(action, about, p_.loop->Elapsed());
}

bool Dispatcher::FailOver(const DestinationRow& destination,
                          const std::string& host) {
  return next_hops_.OnFailed(destination.action, host, p_.loop->Elapsed());
}

void Dispatcher::HostWorks(const DestinationRow& destination,
                           const std::string& host) {
  next_hops_.OnWorks(destination.action, host);
}

void Dispatcher::HostUntried(const DestinationRow& destination,
                             const std::string& host) {
  next_hops_.OnUntried(destination.action, host);
}

absl::Status Dispatcher::Send(const DestinationRow& destination,
                              const Action& action, PreparedBatch batch) {
  const DeliveryKind kind = destination.kind;
  RelayTarget target;
  if (batch.lmtp) {
    target = LmtpTarget(action);
    EndOfTheWay(action, &batch.messages);
  } else if (kind == DeliveryKind::kMta) {
    absl::StatusOr<RelayTarget> found = TargetOf(destination, action, batch);
    if (!found.ok()) return found.status();
    target = *std::move(found);
  }
  const bool to_relay = batch.lmtp || kind == DeliveryKind::kMta;
  const WorkerId worker =
      to_relay
          ? p_.doors->Choose(DeliveryKind::kMta,
                             RelayKey(&action, target.domain, target.smarthost,
                                      target.backup_name))
          : p_.doors->Choose(kind, batch.mailbox_user);
  const std::string host = target.smarthost && action.host != nullptr &&
                                   !IsNextHop(destination.routing_key)
                               ? target.domain
                               : "";
  if (worker == WorkerId(0)) {
    if (!host.empty()) HostUntried(destination, host);
    return absl::UnavailableError("no worker");
  }

  FlyingBatch flying;
  flying.key = {worker, BatchId(++last_batch_)};
  flying.destination = destination.id;
  flying.kind = kind;
  flying.round = destination.failures;
  flying.host = host;
  const BatchKey key = flying.key;
  if (to_relay) {
    p_.router->AddTasks(key, target, batch.messages.size(),
                        batch.envelopes.size());
    SendToRelay(key, destination.id, std::move(target), &batch);
  } else {
    SendToDeliver(key, destination.id, action, batch.mailbox_user,
                  std::move(batch.messages));
  }
  p_.doors->CountBatch(worker, 1);
  Claim(key, batch.envelopes);
  p_.in_flight->Add(std::move(flying), std::move(batch.envelopes),
                    p_.loop->Now());
  return absl::OkStatus();
}

void Dispatcher::SendToRelay(const BatchKey& key, DestinationId destination,
                             RelayTarget target, PreparedBatch* batch) {
  RelayBatch out;
  out.batch = key.second;
  out.destination = destination;
  out.target = std::move(target);
  out.messages = std::move(batch->messages);
  out.waiting =
      static_cast<uint32_t>(std::min<uint64_t>(batch->waiting, UINT32_MAX));
  p_.doors->Send(key.first, out);
}

void Dispatcher::SendToDeliver(const BatchKey& key, DestinationId destination,
                               const Action& action, const std::string& user,
                               std::vector<BatchMessage> messages) {
  DeliverBatch out;
  out.batch = key.second;
  out.destination = destination;
  out.action = action.name;
  out.user = user;
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
  p_.router->EndTasks(key);
  for (EnvelopeId id : gone.envelopes) p_.in_flight->Remove(id);
  if (!gone.over) p_.doors->CountBatch(key.first, -1);
  p_.on_claim_failed(gone, absl::IsResourceExhausted(status));
}

}  // namespace holdfast
