#include "server/queue/next_hops.h"

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "protocol/relay_url.h"
#include "protocol/vis.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

absl::Status NotRetrieved(EnvelopeId first) {
  LogWarn("warn: Failed to retrieve smarthost for envelope %s",
          ToString(first));
  return absl::NotFoundError("Cannot retrieve smarthost");
}

}  // namespace

absl::Status CheckRelayUrl(const Action& action, const std::string& url) {
  const absl::StatusOr<RelayUrl> parsed = ParseRelayUrl(url);
  if (!parsed.ok()) {
    LogWarn("warn: Failed to parse smarthost %s", VisEncode(url));
    return absl::InvalidArgumentError("Cannot parse smarthost");
  }
  if (!parsed->label.empty() && action.auth == nullptr) {
    LogWarn("warn: No auth table on action \"%s\" for relay %s",
            VisEncode(action.name), VisEncode(url));
    return absl::FailedPreconditionError("No auth table for relaying");
  }
  const bool clear = parsed->protocol == RelayProtocol::kSmtpNotls ||
                     parsed->protocol == RelayProtocol::kLmtp;
  if (clear && action.tls != Action::Tls::kOpportunistic) {
    LogWarn("warn: TLS required for action \"%s\"", VisEncode(action.name));
    return absl::FailedPreconditionError("TLS required for relaying");
  }
  return absl::OkStatus();
}

NextHops::NextHops(const Config* config, ProgramHops* programs)
    : config_(*config),
      programs_(programs),
      smarthosts_(
          [](const std::string& line) { LogLine(LogLevel::kInfo, line); }) {}

absl::StatusOr<RelayTarget> NextHops::TargetOf(const Action& action,
                                               const Batch& batch,
                                               absl::Duration now) {
  RelayTarget target;
  target.action = action.name;
  target.backup_name = batch.backup_name;
  target.domain = batch.domain;
  if (action.host == nullptr && action.domain == nullptr) return target;
  const Table& table = action.host != nullptr ? *action.host : *action.domain;
  absl::StatusOr<std::string> url =
      table.is_process()       ? FromProgram(action, batch)
      : action.host != nullptr ? FromHost(action, batch, now)
                               : FromDomain(action, batch);
  if (!url.ok()) return url.status();
  target.domain = *std::move(url);
  target.smarthost = true;
  return target;
}

absl::StatusOr<RelayTarget> NextHops::Named(const Action& action,
                                            const std::string& url) {
  absl::Status fits = CheckRelayUrl(action, url);
  if (!fits.ok()) return fits;
  RelayTarget target;
  target.action = action.name;
  target.domain = url;
  target.smarthost = true;
  return target;
}

// One that cannot be used at all fails like one that does not answer: the
// others go on.
absl::StatusOr<std::string> NextHops::FromHost(const Action& action,
                                               const Batch& batch,
                                               absl::Duration now) {
  while (true) {
    std::optional<std::string> url =
        smarthosts_.Choose(action, batch.messages, now);
    if (!url.has_value()) return NotRetrieved(batch.first);
    absl::Status fits = CheckRelayUrl(action, *url);
    if (fits.ok()) return *std::move(url);
    if (!smarthosts_.OnFailed(action, *url, now)) return fits;
  }
}

absl::StatusOr<std::string> NextHops::FromDomain(const Action& action,
                                                 const Batch& batch) const {
  auto found = action.domain->Lookup(TableService::kRelayhost, batch.domain);
  if (!found.ok() || !found->has_value()) return NotRetrieved(batch.first);
  absl::Status fits = CheckRelayUrl(action, **found);
  if (!fits.ok()) return fits;
  return **std::move(found);
}

// Which of several is next is the program's to say, and whether one is used
// that did not answer.
absl::StatusOr<std::string> NextHops::FromProgram(const Action& action,
                                                  const Batch& batch) const {
  if (programs_ == nullptr) return NotRetrieved(batch.first);
  absl::StatusOr<TableAnswer> answer =
      action.host != nullptr
          ? programs_->Next(*action.host, batch.destination)
          : programs_->For(*action.domain, batch.domain, batch.destination);
  if (!answer.ok()) return answer.status();
  if (answer->result != TableAnswer::Result::kFound)
    return NotRetrieved(batch.first);
  absl::Status fits = CheckRelayUrl(action, answer->value);
  if (!fits.ok()) return fits;
  return std::move(answer->value);
}

const Action* NextHops::WithHost(const std::string& action) const {
  const auto it = config_.actions.find(action);
  return it == config_.actions.end() || it->second.host == nullptr ||
                 it->second.host->is_process()
             ? nullptr
             : &it->second;
}

bool NextHops::OnFailed(const std::string& action, const std::string& url,
                        absl::Duration now) {
  const Action* a = WithHost(action);
  return a != nullptr && smarthosts_.OnFailed(*a, url, now);
}

void NextHops::OnWorks(const std::string& action, const std::string& url) {
  if (const Action* a = WithHost(action)) smarthosts_.OnWorks(*a, url);
}

void NextHops::OnUntried(const std::string& action, const std::string& url) {
  if (const Action* a = WithHost(action)) smarthosts_.OnUntried(*a, url);
}

}  // namespace holdfast
