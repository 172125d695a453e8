#include "server/relay/route_search.h"

#include <errno.h>
#include <string.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/idna.h"
#include "protocol/vis.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

constexpr char kNetworkError[] = "Network error on destination MXs";
constexpr char kFamilyMismatch[] = "Address family mismatch on destination MXs";
constexpr char kNoRoute[] = "No valid route to destination";
constexpr char kNoSource[] = "Could not retrieve source address";

bool FamilyAllowed(const IpAddress& address, MtaLimits::Family family) {
  return family == MtaLimits::Family::kAny ||
         address.inet6 == (family == MtaLimits::Family::kInet6);
}

}  // namespace

RouteSearch::RouteSearch(RelayServices* services, Owner* owner,
                         std::shared_ptr<BatchWork> work, const Action* action)
    : services_(services),
      owner_(owner),
      work_(std::move(work)),
      action_(action),
      limits_(services->config().LimitsFor(TargetDomain(work_->batch.target))) {
}

void RouteSearch::Cancel() {
  if (question_ != 0) services_->CancelSlot(std::exchange(question_, 0));
  // Given up while connecting: no fault of the route.
  if (state_ == State::kConnecting)
    services_->ReportSlot(route_.slot, SlotReport::Event::kClosed);
  state_ = State::kOver;
  timer_.reset();
  connecting_.reset();
}

void RouteSearch::Start() {
  const RelayTarget& target = work_->batch.target;
  auto on_hosts = [self = weak_from_this()](MailHosts hosts) {
    if (auto search = self.lock()) search->OnHosts(std::move(hosts));
  };
  if (!target.smarthost) {
    const absl::StatusOr<std::string> domain = DomainToAscii(target.domain);
    if (!domain.ok())
      return Hopeless(WorkerOutcome::Result::kPermFail, {5, 12},
                      "Malformed domain");
    return services_->resolver()->FindMx(*domain, target.backup_name,
                                         std::move(on_hosts));
  }
  const absl::StatusOr<RelayUrl> url = ParseRelayUrl(target.domain);
  if (!url.ok()) {
    LogWarn("warn: Failed to parse smarthost %s", VisEncode(target.domain));
    return Hopeless(WorkerOutcome::Result::kTempFail, {4, 0},
                    "Cannot parse smarthost");
  }
  protocol_ = url->protocol;
  port_ = url->port;
  if (protocol_ != RelayProtocol::kSmtp &&
      protocol_ != RelayProtocol::kSmtpNotls)
    return Hopeless(WorkerOutcome::Result::kTempFail, {4, 0},
                    absl::StrCat("Relaying by ", RelayProtocolName(protocol_),
                                 ":// is not supported"));
  services_->resolver()->FindHost(url->host, std::move(on_hosts));
}

void RouteSearch::OnHosts(MailHosts hosts) {
  if (state_ == State::kOver) return;
  const std::string domain = VisEncode(TargetDomain(work_->batch.target));
  if (hosts.backup_not_found)
    LogWarn("warn: Couldn't find backup preference for %s: error 4",
            TargetForLog());
  if (hosts.loops_back)
    LogWarn("warn: smtp-out: mail for %s loops back to this host", domain);
  if (hosts.result == MailHosts::Result::kOk) {
    for (MailHost& host : hosts.hosts)
      if (FamilyAllowed(host.address, limits_.family))
        hosts_.push_back(std::move(host));
    if (!hosts_.empty()) return AskSlot();
    LogInfo("smtp-out: Address family mismatch on %s", ConnectorForLog());
    return Unreachable(kFamilyMismatch);
  }
  if (hosts.text == "No MX found for destination")
    LogInfo("smtp-out: No MX found for %s", ConnectorForLog());
  else
    LogInfo("smtp-out: Failed to resolve MX for %s: %s", TargetForLog(),
            hosts.text);
  if (hosts.result == MailHosts::Result::kTempFail)
    return Unreachable(hosts.text);
  Hopeless(WorkerOutcome::Result::kPermFail, hosts.status, hosts.text);
}

// ---- a slot

// Finds a source from which some host can be reached.  False: the search is
// over.
bool RouteSearch::PickSource() {
  fitting_ = hosts_;
  if (action_ == nullptr || action_->src == nullptr) return true;
  const size_t sources = action_->src->entries().size();
  for (size_t i = 0; i < sources; ++i) {
    const std::optional<std::string> text = action_->src->Fetch();
    source_ = IpAddress::Parse(text.value_or(""));
    if (!source_) source_ = ParseAddressLiteral(text.value_or(""));
    if (!source_) continue;
    fitting_.clear();
    for (const MailHost& host : hosts_)
      if (host.address.inet6 == source_->inet6) fitting_.push_back(host);
    if (!fitting_.empty()) return true;
  }
  if (!source_) {
    LogWarn("warn: Failed to get source address for %s", TargetForLog());
    Unreachable(kNoSource);
  } else {
    LogInfo("smtp-out: Address family mismatch on %s", ConnectorForLog());
    Unreachable(kFamilyMismatch);
  }
  return false;
}

void RouteSearch::AskSlot() {
  if (!PickSource()) return;
  state_ = State::kAsking;
  SlotRequest request;
  request.target = work_->batch.target;
  request.destination = work_->batch.destination;
  request.domain = TargetDomain(work_->batch.target);
  if (source_) request.source = source_->ToString();
  for (const MailHost& host : fitting_)
    request.hosts.push_back(
        {host.address.ToString(), host.name, host.preference});
  question_ =
      services_->AskSlot(std::move(request), [this](const SlotAnswer& answer) {
        question_ = 0;
        OnSlot(answer);
      });
}

void RouteSearch::OnSlot(const SlotAnswer& answer) {
  switch (answer.result) {
    case SlotAnswer::Result::kGranted:
      return Connect(answer);
    case SlotAnswer::Result::kLater:
      state_ = State::kWaiting;
      timer_ = services_->loop()->RunAfter(
          std::clamp(answer.delay, kMinSlotDelay, kMaxSlotDelay),
          [this] { AskSlot(); });
      return;
    case SlotAnswer::Result::kNoRoute:
      break;
  }
  LogInfo("smtp-out: No valid route for %s", ConnectorForLog());
  Unreachable(kNetworkError);
}

// ---- a connection

void RouteSearch::Connect(const SlotAnswer& answer) {
  route_ = Route();
  route_.target = work_->batch.target;
  route_.protocol = protocol_;
  route_.port = port_;
  route_.slot = answer.slot;
  route_.session = services_->NewSessionId();
  state_ = State::kConnecting;
  if (answer.host >= fitting_.size()) {
    services_->ReportSlot(route_.slot, SlotReport::Event::kClosed);
    state_ = State::kAsking;
    return Unreachable(kNoRoute);
  }
  route_.host = fitting_[answer.host];
  // The name is asked for at the same time and is there by the next turn if it
  // was known.
  services_->resolver()->FindPtr(
      route_.host.address,
      [name = route_.host_name](std::string found) { *name = found; });
  timer_ =
      services_->loop()->RunAfter(absl::ZeroDuration(), [this] { Dial(); });
}

void RouteSearch::Dial() {
  const IpAddress& address = route_.host.address;
  LogInfo("%s mta connecting address=%s://%s:%d host=%s",
          ToString(route_.session), RelayProtocolName(protocol_),
          address.ToBracketed(), port_,
          route_.host_name->empty() ? address.ToString() : *route_.host_name);
  connecting_ = services_->dialer()->Dial(
      address, port_, source_, kConnectTimeout,
      [this](absl::StatusOr<std::unique_ptr<Stream>> stream) {
        OnDialed(std::move(stream));
      });
}

void RouteSearch::OnDialed(absl::StatusOr<std::unique_ptr<Stream>> stream) {
  const std::unique_ptr<EventLoop::Registration> done = std::move(connecting_);
  if (stream.ok()) {
    state_ = State::kGreeting;
    return owner_->OnConnected(this, route_, *std::move(stream));
  }
  const std::string text(stream.status().message());
  state_ = State::kAsking;
  if (source_ && text == strerror(EADDRNOTAVAIL)) {
    LogInfo("smtp-out: Error on %s: %s", RouteForLog(), text);
    services_->ReportSlot(route_.slot, SlotReport::Event::kClosed);
    if (++bad_sources_ >= action_->src->entries().size())
      return Unreachable(kNoRoute);
    return AskSlot();
  }
  if (absl::IsDeadlineExceeded(stream.status()))
    LogInfo("%s mta error reason=Connection timeout", ToString(route_.session));
  else
    LogInfo("%s mta error reason=IO Error: %s", ToString(route_.session), text);
  services_->ReportSlot(route_.slot, SlotReport::Event::kFailed);
  TryNext();
}

void RouteSearch::HostFailed() {
  state_ = State::kAsking;
  TryNext();
}

void RouteSearch::TryNext() {
  std::erase_if(hosts_, [this](const MailHost& host) {
    return host.address == route_.host.address;
  });
  if (hosts_.empty() || ++tries_ >= kMaxHostTries)
    return Unreachable(kNetworkError);
  AskSlot();
}

// ---- ends

void RouteSearch::Unreachable(const std::string& failure) {
  owner_->OnUnreachable(this, failure);
}

void RouteSearch::Hopeless(WorkerOutcome::Result result, EnhancedStatus status,
                           const std::string& text) {
  WorkerOutcome outcome;
  outcome.result = result;
  outcome.status = status;
  outcome.text = text;
  owner_->OnHopeless(this, outcome);
}

std::string RouteSearch::TargetForLog() const {
  return VisEncode(TargetText(work_->batch.target, action_));
}

std::string RouteSearch::ConnectorForLog() const {
  return absl::StrCat("[connector:", source_ ? source_->ToBracketed() : "[]",
                      "->", TargetForLog(), ",0x0]");
}

std::string RouteSearch::RouteForLog() const {
  return absl::StrCat(source_ ? source_->ToBracketed() : "[]", " <-> ",
                      route_.RelayText());
}

}  // namespace holdfast
