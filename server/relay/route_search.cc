#include "server/relay/route_search.h"

#include <errno.h>
#include <string.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "protocol/idna.h"
#include "protocol/vis.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

constexpr char kNetworkError[] = "Network error on destination MXs";
constexpr char kFamilyMismatch[] = "Address family mismatch on destination MXs";
constexpr char kNoRoute[] = "No valid route to destination";
constexpr char kNoSource[] = "Could not retrieve source address";
constexpr char kNoCredentials[] = "Could not retrieve credentials";

bool FamilyAllowed(const IpAddress& address, MtaLimits::Family family) {
  return family == MtaLimits::Family::kAny ||
         address.inet6 == (family == MtaLimits::Family::kInet6);
}

}  // namespace

RouteSearch::RouteSearch(RelayServices* services, Owner* owner,
                         std::shared_ptr<BatchWork> work, const Action* action)
    : RouteSearch(services, owner, std::move(work), RelayTarget(),
                  DestinationId(), action) {}

RouteSearch::RouteSearch(RelayServices* services, Owner* owner,
                         RelayTarget target, DestinationId destination,
                         const Action* action)
    : RouteSearch(services, owner, nullptr, std::move(target), destination,
                  action) {}

RouteSearch::RouteSearch(RelayServices* services, Owner* owner,
                         std::shared_ptr<BatchWork> work, RelayTarget target,
                         DestinationId destination, const Action* action)
    : services_(services),
      owner_(owner),
      work_(std::move(work)),
      target_(work_ == nullptr ? std::move(target) : work_->batch.target),
      destination_(work_ == nullptr ? destination : work_->batch.destination),
      action_(action),
      key_(TargetKey(target_, action)),
      limits_(services->config().LimitsFor(TargetDomain(target_))),
      began_(services->loop()->Now()),
      began_elapsed_(services->loop()->Elapsed()) {}

void RouteSearch::Cancel() {
  if (question_ != 0) services_->CancelSlot(std::exchange(question_, 0));
  if (table_question_ != 0)
    services_->secrets()->Cancel(std::exchange(table_question_, 0));
  // Given up while connecting: no fault of the route.
  if (state_ == State::kConnecting || state_ == State::kSecuring)
    services_->ReportSlot(route_, SlotReport::Event::kClosed);
  route_.reports.reset();
  state_ = State::kOver;
  timer_.reset();
  connecting_.reset();
  securing_.reset();
}

void RouteSearch::Start() {
  auto policy = MakeRoutePolicy(target_, action_);
  if (const auto* refusal = std::get_if<RouteRefusal>(&policy)) {
    if (work_ != nullptr) LogWarn("%s", refusal->log);
    return Hopeless(WorkerOutcome::Result::kTempFail, {4, 0}, refusal->text);
  }
  policy_ = std::get<RoutePolicy>(std::move(policy));
  if (!policy_.unix_path.empty()) {
    MailHost socket;
    socket.name = policy_.unix_path;
    hosts_.push_back(std::move(socket));
    return AskSlot();
  }
  auto on_hosts = [self = weak_from_this()](MailHosts hosts) {
    if (auto search = self.lock()) search->OnHosts(std::move(hosts));
  };
  if (!policy_.host.empty())
    return services_->resolver()->FindHost(policy_.host, std::move(on_hosts));
  const absl::StatusOr<std::string> domain = DomainToAscii(target_.domain);
  if (!domain.ok())
    return Hopeless(WorkerOutcome::Result::kPermFail, {5, 12},
                    "Malformed domain");
  services_->resolver()->FindMx(*domain, target_.backup_name,
                                std::move(on_hosts));
}

void RouteSearch::OnHosts(MailHosts hosts) {
  if (state_ == State::kOver) return;
  const std::string domain = VisEncode(TargetDomain(target_));
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
  const size_t sources = action_->src->entries().size();
  for (size_t i = 0; i < sources; ++i)
    if (TakeSource(action_->src->Fetch().value_or(""))) return true;
  NoSource();
  return false;
}

bool RouteSearch::TakeSource(const std::string& text) {
  source_ = IpAddress::Parse(text);
  if (!source_) source_ = ParseAddressLiteral(text);
  if (!source_ || std::find(bad_sources_.begin(), bad_sources_.end(),
                            *source_) != bad_sources_.end())
    return false;
  fitting_.clear();
  for (const MailHost& host : hosts_)
    if (host.address.inet6 == source_->inet6) fitting_.push_back(host);
  return !fitting_.empty();
}

void RouteSearch::NoSource() {
  if (!bad_sources_.empty()) {
    Unreachable(why_no_source_);
  } else if (!source_) {
    LogWarn("warn: Failed to get source address for %s", TargetForLog());
    Unreachable(kNoSource);
  } else {
    LogInfo("smtp-out: Address family mismatch on %s", ConnectorForLog());
    Unreachable(kFamilyMismatch);
  }
}

// The program of a table gives its addresses in turn, too, but does not say how
// many there are.
void RouteSearch::FetchSource(int tries) {
  AskTable(TableQuestion::Op::kFetch, TableService::kSource, *action_->src, "",
           [this, tries](const TableAnswer& answer) {
             const bool found = answer.result == TableAnswer::Result::kFound;
             if (!found) source_.reset();
             if (found && TakeSource(answer.value))
               return AskHelo(source_->ToBracketed());
             if (!found || tries + 1 >= kMaxSourceFetches) return NoSource();
             FetchSource(tries + 1);
           });
}

void RouteSearch::AskTable(TableQuestion::Op op, TableService service,
                           const Table& table, const std::string& key,
                           std::function<void(const TableAnswer&)> done) {
  state_ = State::kAsking;
  TableQuestion question;
  question.table = table.name();
  question.op = op;
  question.service = service;
  question.key = key;
  table_question_ = services_->secrets()->AskTable(
      std::move(question), AnswerTimeout(&table),
      [this, done = std::move(done)](const TableAnswer& answer) {
        table_question_ = 0;
        done(answer);
      });
}

// By address as the reference writes it, "[2001:db8::1]"; then without
// brackets, as table(5) does.
void RouteSearch::AskHelo(const std::string& key) {
  helo_of_source_.reset();
  if (!source_ || action_->helo_src == nullptr ||
      !action_->helo_src->is_process())
    return RequestSlot();
  AskTable(
      TableQuestion::Op::kLookup, TableService::kAddrname, *action_->helo_src,
      key, [this, key](const TableAnswer& answer) {
        const std::string plain = source_->ToString();
        if (answer.result == TableAnswer::Result::kNotFound && key != plain)
          return AskHelo(plain);
        if (answer.result == TableAnswer::Result::kFound)
          helo_of_source_ = answer.value;
        RequestSlot();
      });
}

void RouteSearch::AskSlot() {
  fitting_ = hosts_;
  if (action_ == nullptr || action_->src == nullptr ||
      !policy_.unix_path.empty())
    return RequestSlot();
  if (action_->src->is_process()) return FetchSource(0);
  if (PickSource()) AskHelo(source_->ToBracketed());
}

void RouteSearch::RequestSlot() {
  state_ = State::kAsking;
  SlotRequest request;
  request.target = target_;
  request.destination = destination_;
  request.domain = TargetDomain(target_);
  if (source_) request.source = source_->ToString();
  for (const MailHost& host : fitting_)
    request.hosts.push_back(
        {policy_.unix_path.empty() ? host.address.ToString() : "", host.name,
         host.preference});
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
      if (work_ == nullptr) return Unreachable("");
      if (took() >= kMaxSlotWait)
        return Unreachable(failures_.empty() ? "" : NetworkError());
      state_ = State::kWaiting;
      timer_ = services_->loop()->RunAfter(
          std::clamp(answer.delay, kMinSlotDelay, kMaxSlotDelay),
          [this] { AskSlot(); });
      return;
    case SlotAnswer::Result::kNoRoute:
      break;
  }
  OnNoRoute(answer.failure);
}

// Another source may have one.
void RouteSearch::OnNoRoute(const std::string& failure) {
  if (work_ == nullptr) return Unreachable("");
  LogInfo("smtp-out: No valid route for %s", ConnectorForLog());
  const bool network = failure.empty() || failure == kNetworkError;
  const std::string why = network ? NetworkError() : failure;
  if (!source_) return Unreachable(why);
  LeaveSource(why);
}

// ---- a connection

void RouteSearch::Connect(const SlotAnswer& answer) {
  route_ = Route();
  route_.target = target_;
  route_.action = action_;
  route_.key = key_;
  route_.policy = policy_;
  route_.slot = answer.slot;
  route_.session = services_->NewSessionId();
  if (answer.host >= fitting_.size()) {
    services_->ReportSlot(route_, SlotReport::Event::kClosed);
    return Unreachable(kNoRoute);
  }
  route_.host = fitting_[answer.host];
  if (!ChooseHelo()) return SourceFailed("Failed to retrieve helo string");
  state_ = State::kConnecting;
  if (route_.is_unix()) return Dial();
  FindNameThenDial();
}

// The name is asked for at the same time and is there by the next turn if it
// was known.  A filter wants to hear it at once.
void RouteSearch::FindNameThenDial() {
  const bool wait = action_ != nullptr &&
                    services_->filter_reports()->Wanted(action_->filter);
  timer_ = services_->loop()->RunAfter(
      wait ? kMaxNameWait : absl::ZeroDuration(), [this] { Dial(); });
  auto found = [name = route_.host_name, wait,
                self = weak_from_this()](std::string text) {
    *name = std::move(text);
    const auto search = wait ? self.lock() : nullptr;
    if (search == nullptr || search->route_.host_name != name) return;
    if (search->state_ != State::kConnecting || search->timer_ == nullptr)
      return;
    search->timer_ = search->services_->loop()->RunAfter(
        absl::ZeroDuration(), [raw = search.get()] { raw->Dial(); });
  };
  services_->resolver()->FindPtr(route_.host.address, std::move(found));
}

// link-connect of reports to filters.
void RouteSearch::BeginReports(const Stream& stream) {
  route_.reports.reset();
  if (action_ == nullptr || action_->filter.empty()) return;
  FilterReports::Link link;
  link.session = route_.session;
  link.filter = action_->filter;
  link.helo = route_.helo;
  link.rdns = *route_.host_name;
  if (route_.is_unix()) {
    link.source = link.destination =
        absl::StrCat("unix:", route_.policy.unix_path);
  } else {
    const std::optional<IpAddress> own = IpAddress::Parse(route_.source);
    link.source = absl::StrCat(own ? own->ToBracketed() : route_.source, ":",
                               stream.LocalPort());
    link.destination = absl::StrCat(route_.host.address.ToBracketed(), ":",
                                    route_.policy.port);
  }
  route_.reports = services_->filter_reports()->Begin(std::move(link));
}

// What we call ourselves: by the source address if there is a table of it.
bool RouteSearch::ChooseHelo() {
  route_.helo = services_->config().server_name;
  if (action_ == nullptr) return true;
  if (!action_->helo.empty()) route_.helo = action_->helo;
  if (action_->helo_src == nullptr || !source_) return true;
  if (action_->helo_src->is_process()) {
    route_.helo = helo_of_source_.value_or("");
    return helo_of_source_.has_value();
  }
  const absl::StatusOr<std::optional<std::string>> name =
      action_->helo_src->Lookup(TableService::kAddrname, source_->ToString());
  if (!name.ok() || !name->has_value() || (*name)->empty()) return false;
  route_.helo = **name;
  return true;
}

void RouteSearch::Dial() {
  timer_.reset();
  const IpAddress& address = route_.host.address;
  const auto done = [this](absl::StatusOr<std::unique_ptr<Stream>> stream) {
    OnDialed(std::move(stream));
  };
  const std::string session = ToString(route_.session);
  if (route_.is_unix()) {
    const std::string path = VisEncode(route_.policy.unix_path);
    LogInfo("%s mta connecting address=lmtp:%s host=%s", session, path, path);
    connecting_ =
        services_->dialer()->DialUnix(target_.action, kReplyTimeout, done);
    return;
  }
  LogInfo("%s mta connecting address=%s://%s:%d host=%s", session,
          RelayProtocolName(route_.policy.protocol), address.ToBracketed(),
          route_.policy.port,
          route_.host_name->empty() ? address.ToString()
                                    : VisEncode(*route_.host_name));
  connecting_ = services_->dialer()->Dial(address, route_.policy.port, source_,
                                          kReplyTimeout, done);
}

void RouteSearch::OnDialed(absl::StatusOr<std::unique_ptr<Stream>> stream) {
  const std::unique_ptr<EventLoop::Registration> done = std::move(connecting_);
  if (stream.ok()) return Connected(*std::move(stream));
  const std::string text(stream.status().message());
  if (source_ && text == strerror(EADDRNOTAVAIL)) return SourceFailed(text);
  const std::string error = absl::IsDeadlineExceeded(stream.status())
                                ? "Connection timeout"
                                : absl::StrCat("IO Error: ", text);
  LogInfo("%s mta error reason=%s", ToString(route_.session), VisEncode(error));
  services_->ReportSlot(route_, SlotReport::Event::kFailed);
  HostFailed(error);
}

void RouteSearch::Connected(std::unique_ptr<Stream> stream) {
  LogInfo("%s mta connected", ToString(route_.session));
  route_.source = stream->LocalAddress();
  BeginReports(*stream);
  if (route_.policy.protocol == RelayProtocol::kSmtps) {
    state_ = State::kSecuring;
    securing_ = std::make_unique<RouteTls>(
        services_, &route_, std::move(stream),
        [this](absl::StatusOr<std::unique_ptr<Stream>> secured) {
          OnSecured(std::move(secured));
        });
    return;
  }
  state_ = State::kGreeting;
  owner_->OnConnected(this, route_, std::move(stream));
}

void RouteSearch::OnSecured(absl::StatusOr<std::unique_ptr<Stream>> stream) {
  if (stream.ok()) {
    state_ = State::kGreeting;
    if (route_.reports != nullptr) route_.reports->OnTls(route_.Ciphers());
    return owner_->OnConnected(this, route_, *std::move(stream));
  }
  const std::string error(stream.status().message());
  if (route_.reports != nullptr && error == kConnectionTimeout)
    route_.reports->OnTimeout();
  route_.reports.reset();
  LogInfo("%s mta error reason=%s", ToString(route_.session), VisEncode(error));
  services_->ReportSlot(route_, SlotReport::Event::kFailed);
  HostFailed(error);
}

void RouteSearch::RetryInClear(uint64_t slot) {
  route_.slot = slot;
  route_.policy.protocol = RelayProtocol::kSmtpNotls;
  state_ = State::kConnecting;
  Dial();
}

// This source cannot be used; no fault of the route.
void RouteSearch::SourceFailed(const std::string& error) {
  state_ = State::kAsking;
  LogInfo("smtp-out: Error on %s: %s", RouteForLog(), error);
  services_->ReportSlot(route_, SlotReport::Event::kClosed);
  LeaveSource(kNoRoute);
}

// The table gives its addresses in turn, to all searches: this one may come
// again.  A program may name ever more of them.
void RouteSearch::LeaveSource(const std::string& why) {
  bad_sources_.push_back(*source_);
  why_no_source_ = why;
  if (action_->src->is_process() && bad_sources_.size() >= kMaxSourceFetches)
    return Unreachable(why);
  AskSlot();
}

void RouteSearch::HostFailed(const std::string& error) {
  state_ = State::kAsking;
  NoteFailure(error);
  std::erase_if(hosts_, [this](const MailHost& host) {
    return host.address == route_.host.address;
  });
  if (hosts_.empty() || ++tries_ >= kMaxHostTries)
    return Unreachable(NetworkError());
  AskSlot();
}

void RouteSearch::NoCredentials() { Unreachable(kNoCredentials); }

// ---- ends

void RouteSearch::NoteFailure(const std::string& error) {
  if (failures_.size() >= kMaxToldFailures) return;
  failures_.push_back(absl::StrCat(
      route_.is_unix() ? route_.host.name : route_.host.address.ToString(),
      ": ", VisEncode(error).substr(0, kMaxFailureText)));
}

// The reference's words, and why; where nothing could be tried, why the last
// time.
std::string RouteSearch::NetworkError() const {
  std::string why = absl::StrJoin(failures_, "; ");
  if (why.empty())
    why = services_->failures()->Of(key_);
  else
    services_->failures()->Note(key_, why);
  if (why.empty()) return kNetworkError;
  return absl::StrCat(kNetworkError, " (", why, ")");
}

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
  return VisEncode(TargetText(target_, action_));
}

std::string RouteSearch::ConnectorForLog() const {
  return absl::StrCat("[connector:", source_ ? source_->ToBracketed() : "[]",
                      "->", TargetForLog(), ",0x0]");
}

std::string RouteSearch::RouteForLog() const {
  return absl::StrCat(source_ ? source_->ToBracketed() : "[]", " <-> ",
                      VisEncode(route_.RelayText()));
}

}  // namespace holdfast
