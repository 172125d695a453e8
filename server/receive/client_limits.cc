#include "server/receive/client_limits.h"

namespace holdfast {
namespace {

bool Exceeds(uint64_t count, uint64_t limit) {
  return limit != 0 && count > limit;
}

LimitVerdict JudgeRate(ClientLimit limit, uint64_t count, uint64_t most) {
  if (!Exceeds(count, most)) return {};
  return {limit, Exceeds(count, 2 * most)};
}

}  // namespace

ClientLimits::Visit::Visit(ClientLimits* limits, const IpAddress& address,
                           absl::Time now)
    : limits_(limits) {
  ClientTable* const table = limits_->table_;
  if (table == nullptr || address.IsLoopbackOrUnspecified()) return;
  const auto find = [&](ClientScope scope) {
    return table->Find(scope, ClientKey(scope, address), now);
  };
  network_ = find(ClientScope::kNetwork);
  source_ = find(ClientScope::kSource);
}

ClientLimits::Visit::~Visit() {
  if (!open_) return;
  if (source_) limits_->table_->Close(*source_);
  if (network_) limits_->table_->Close(*network_);
}

// Counts first and looks then: of two that come at once, none may slip by.
void ClientLimits::Visit::Open() {
  open_ = true;
  if (source_) limits_->table_->Open(*source_);
  if (network_) limits_->table_->Open(*network_);
}

LimitVerdict ClientLimits::Visit::OnConnect(absl::Time now) {
  ClientTable* const table = limits_->table_;
  const SmtpLimits& limits = *limits_->limits_;
  if (source_) table->AddConnect(*source_, now);
  if (network_) table->AddConnect(*network_, now);
  Open();
  if (network_) {
    const ClientTable::Counts counts = table->Count(*network_, now);
    if (Exceeds(counts.open, limits.max_sessions_per_network))
      return {ClientLimit::kSessionsOfNetwork, false};
    if (!source_)
      return JudgeRate(
          ClientLimit::kConnectsOfSource, counts.connects,
          uint64_t{limits.max_connects_per_source} * kNetworkShare);
  }
  if (!source_) return {};
  const ClientTable::Counts counts = table->Count(*source_, now);
  const LimitVerdict rate =
      JudgeRate(ClientLimit::kConnectsOfSource, counts.connects,
                limits.max_connects_per_source);
  if (!rate.allowed()) return rate;
  if (Exceeds(counts.open, limits.max_sessions_per_source))
    return {ClientLimit::kSessionsOfSource, false};
  return {};
}

LimitVerdict ClientLimits::Visit::OnMail(absl::Time now) {
  ClientTable* const table = limits_->table_;
  const uint64_t most = limits_->limits_->max_mails_per_source;
  if (source_) table->AddMail(*source_, now);
  if (network_) table->AddMail(*network_, now);
  if (source_)
    return JudgeRate(ClientLimit::kMailsOfSource,
                     table->Count(*source_, now).mails, most);
  if (network_)
    return JudgeRate(ClientLimit::kMailsOfSource,
                     table->Count(*network_, now).mails, most * kNetworkShare);
  return {};
}

std::unique_ptr<ClientLimits::Visit> ClientLimits::Admit(
    const IpAddress& address, absl::Time now, LimitVerdict* verdict) {
  auto visit = std::make_unique<Visit>(this, address, now);
  *verdict = visit->OnConnect(now);
  if (!verdict->allowed()) return nullptr;
  return visit;
}

}  // namespace holdfast
