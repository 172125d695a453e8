#include "server/queue/queue_room.h"

#include <algorithm>
#include <string>

#include "server/log/log.h"
#include "server/queue/move_sweep.h"

namespace holdfast {
namespace {

// How often to look whether the workers have answered, when stopping.
constexpr absl::Duration kStopPoll = absl::Milliseconds(20);
// Of the time for stopping, what is left for the last commits.
constexpr double kWaitShare = 0.75;
// After ids could not be leased.
constexpr absl::Duration kLeaseRetry = absl::Seconds(1);

Acceptance::Parts AcceptanceParts(const RoomContext& context,
                                  const CommandSeals* seals) {
  Acceptance::Parts parts;
  parts.loop = context.loop;
  parts.config = context.config.get();
  parts.seals = seals;
  return parts;
}

}  // namespace

QueueRoom::QueueRoom(RoomContext context, StoreOpener open)
    : context_(std::move(context)),
      open_(std::move(open)),
      started_(context_.loop->Now()),
      acceptance_(AcceptanceParts(context_, &seals_)),
      lookup_(context_.loop, &seals_),
      filters_(
          context_.loop, "queue",
          [this] {
            if (reports_ != nullptr) reports_->OnFilterKnown();
          },
          nullptr, [this] { context_.exit(1); }) {
  if (context_.start->has_control && !context_.fds.empty()) {
    control_ = std::move(context_.fds[0]);
  }
}

QueueRoom::~QueueRoom() {
  // The store's threads end first, so that none of them calls what is going;
  // but what uses the store must be gone before that.
  control_server_.reset();
  reports_.reset();
  engine_.reset();
}

// ---- The store

StoreOptions QueueRoom::OptionsForStore() const {
  const Config& config = *context_.config;
  StoreOptions options;
  options.path = PathsBelow(config.spool).store;
  options.size_limit = config.queue_size;
  options.min_free = config.queue_min_free;
  options.history_age = config.queue_history;
  options.history_bytes = config.queue_history_size;
  options.keys = {context_.start->queue_key,
                  context_.start->queue_previous_key};
  options.on_warning = [](absl::string_view line) {
    LogLine(LogLevel::kWarning, line);
  };
  return options;
}

absl::Status QueueRoom::Start() {
  absl::StatusOr<std::unique_ptr<QueueStore>> store = open_(OptionsForStore());
  if (store.ok()) {
    OnOpen(*std::move(store));
    return absl::OkStatus();
  }
  const std::string why(store.status().message());
  if (!absl::IsUnavailable(store.status())) return store.status();
  if (why != told_) LogWarn("warn: queue: %s; trying again every second", why);
  told_ = why;
  open_timer_ = context_.loop->RunAfter(kOpenRetry, [this] {
    const absl::Status status = Start();
    if (status.ok() || absl::IsUnavailable(status)) return;
    LogLine(LogLevel::kFatal,
            absl::StrCat("queue: ", std::string(status.message())));
    context_.exit(absl::IsUnauthenticated(status) ? kHopelessStatus : 1);
  });
  return absl::OkStatus();
}

void QueueRoom::OnOpen(std::unique_ptr<QueueStore> store) {
  store_ = std::move(store);
  if (!context_.start->queue_key.empty())
    LogInfo("queue: queue encryption enabled");
  QueueEngine::Parts parts;
  parts.loop = context_.loop;
  parts.config = context_.config.get();
  parts.store = store_.get();
  parts.on_reports = [this] {
    if (reports_ != nullptr) reports_->OnReportsAdded();
  };
  parts.on_failed_sync = [this](const absl::Status& s) { OnFailedSync(s); };
  parts.ask_table = [this](TableQuestion question,
                           absl::AnyInvocable<void(TableAnswer)> done) {
    lookup_.AskTable(std::move(question), std::move(done));
  };
  engine_ = std::make_unique<QueueEngine>(std::move(parts));
  PauseFromCommandLine();
  acceptance_.OnStoreOpen(store_.get(), &engine_->committer());
  reports_ = std::make_unique<ReportSender>(this);
  control_server_ = std::make_unique<ControlServer>(this, control_.Release());
  for (auto& [to, door] : std::exchange(early_doors_, {})) {
    engine_->AddWorker(to, std::move(door));
  }
  if (workers_.has_value()) engine_->OnWorkers(*workers_);
  // Such mail is in no lane: nobody would miss it.
  FindMoved(this, [](const absl::StatusOr<bool>& found) {
    if (found.ok() && *found)
      LogWarn(
          "warn: queue: an export --move was interrupted: `queue release` or "
          "`queue remove` what has `%s`",
          kMovingFilter);
  });
}

void QueueRoom::PauseFromCommandLine() {
  for (const std::string& what : context_.start->paused) {
    if (what == "mta") engine_->scheduler().SetPaused(DeliveryKind::kMta, true);
    if (what == "mda") engine_->scheduler().SetPaused(DeliveryKind::kMda, true);
    if (what == "smtp") acceptance_.SetPaused(true);
  }
}

// Nothing is known of what is on the disk: nobody is answered, and the next
// `queue` finds out (docs/ARCHITECTURE.md).
void QueueRoom::OnFailedSync(const absl::Status& status) {
  acceptance_.Stop();
  LogLine(LogLevel::kFatal, absl::StrCat("queue: cannot commit: ",
                                         std::string(status.message())));
  context_.exit(1);
}

// ---- parent

void QueueRoom::OnDoor(const NewDoor& to, std::unique_ptr<Door> door) {
  switch (to.peer) {
    case Room::kReceive:
      return acceptance_.Add(to, std::move(door));
    case Room::kLookup:
      return lookup_.SetDoor(std::move(door));
    case Room::kFilters:
      return filters_.SetDoor(std::move(door));
    case Room::kRelay:
    case Room::kDeliver:
      if (engine_ != nullptr) return engine_->AddWorker(to, std::move(door));
      door->PauseReading();
      early_doors_.emplace_back(to, std::move(door));
      return;
    default:
      LogWarn("warn: queue: a door to %s is not for me", RoomName(to.peer));
  }
}

bool QueueRoom::OnParentFrame(Frame& frame) {
  return Dispatch<Workers>(frame, [this](Workers& workers) {
    workers_ = std::move(workers);
    if (engine_ != nullptr) engine_->OnWorkers(*workers_);
  });
}

void QueueRoom::OnStop(absl::Duration grace) {
  if (std::exchange(stopping_, true)) return;
  acceptance_.Stop();
  open_timer_.reset();
  control_server_.reset();
  reports_.reset();
  if (engine_ == nullptr) return context_.exit(0);
  engine_->Stop();
  WaitForWorkers(context_.loop->Elapsed() + kWaitShare * grace);
}

// They finish what they have; what they say is still recorded.
void QueueRoom::WaitForWorkers(absl::Duration deadline) {
  // Mail of a move that was cut off by the stop is given back first.
  const bool quiet = engine_->IsQuiet() && !MoveIsRunning();
  if (quiet || context_.loop->Elapsed() >= deadline) return Finish();
  stop_timer_ = context_.loop->RunAfter(
      kStopPoll, [this, deadline] { WaitForWorkers(deadline); });
}

void QueueRoom::Finish() {
  EndMoves();
  engine_->committer().Flush();
  store_->Drain();
  // Behind the results of the last commits, which are posted by now.
  context_.loop->Post(guard_.Wrap([this] {
    const size_t left = engine_->in_flight().with_worker();
    if (left > 0) {
      LogInfo(
          "info: queue: stopping with %d envelopes in flight: in doubt "
          "unless their workers tell",
          left);
    }
    context_.exit(0);
  }));
}

// ---- QueueServices

void QueueRoom::Commit(QueueBatch batch,
                       absl::AnyInvocable<void(BatchResult)> done) {
  engine_->committer().Commit(std::move(batch), std::move(done));
}

void QueueRoom::TakeMessageId(absl::AnyInvocable<void(MessageId)> done) {
  wants_id_.push_back(std::move(done));
  context_.loop->Post(guard_.Wrap([this] { GiveIds(); }));
}

void QueueRoom::GiveIds() {
  while (!wants_id_.empty() && own_left_ > 0) {
    absl::AnyInvocable<void(MessageId)> done = std::move(wants_id_.front());
    wants_id_.pop_front();
    const MessageId id = own_first_;
    own_first_ = MessageId(static_cast<uint32_t>(id) + 1);
    --own_left_;
    done(id);
  }
  if (wants_id_.empty() || leasing_) return;
  leasing_ = true;
  LeaseIds lease;
  lease.count = kOwnLease;
  Commit({lease}, guard_.Wrap([this](BatchResult result) {
    leasing_ = false;
    const OperationResult& leased = result.operations[0];
    if (leased.status.ok()) {
      own_first_ = leased.first_id;
      own_left_ = kOwnLease;
      return GiveIds();
    }
    lease_timer_ = context_.loop->RunAfter(kLeaseRetry, [this] { GiveIds(); });
  }));
}

void QueueRoom::Expand(ExpandRequest request,
                       absl::AnyInvocable<void(ExpandAnswer)> done) {
  lookup_.Expand(std::move(request), std::move(done));
}

void QueueRoom::Explain(ExplainRequest request,
                        absl::AnyInvocable<void(ExplainAnswer)> done) {
  lookup_.Explain(std::move(request), std::move(done));
}

void QueueRoom::UpdateTable(const std::string& name,
                            absl::AnyInvocable<void(TableUpdated)> done) {
  lookup_.UpdateTable(name, std::move(done));
}

void QueueRoom::Act(OperatorAct act, std::vector<EnvelopeId> envelopes,
                    absl::AnyInvocable<void(uint64_t)> done) {
  engine_->acts().Act(act, std::move(envelopes), std::move(done));
}

void QueueRoom::ActOnSlice(std::shared_ptr<const EnvelopeAct> act,
                           const EnvelopeFilter& filter,
                           std::vector<EnvelopeId> envelopes,
                           absl::AnyInvocable<void(ActCounts)> done) {
  engine_->bulk_acts().Act(std::move(act), filter, std::move(envelopes),
                           std::move(done));
}

size_t QueueRoom::InFlightOf(DestinationId id) {
  return engine_->in_flight().CountOf(id);
}

std::optional<absl::Time> QueueRoom::InFlightSince(EnvelopeId id) {
  const FlyingEnvelope* e = engine_->in_flight().Find(id);
  if (e == nullptr) return std::nullopt;
  return e->since;
}

bool QueueRoom::SetPaused(DeliveryKind kind, bool paused) {
  return engine_->scheduler().SetPaused(kind, paused);
}

bool QueueRoom::IsPaused(DeliveryKind kind) {
  return engine_->scheduler().IsPaused(kind);
}

bool QueueRoom::SetSmtpPaused(bool paused) {
  return acceptance_.SetPaused(paused);
}

void QueueRoom::SetVerboseEverywhere(bool verbose) {
  SetVerbose message;
  message.verbose = verbose;
  context_.parent->Send(message);
}

QueueCounters QueueRoom::Counters() {
  QueueCounters counters;
  engine_->Count(&counters);
  counters.sessions = acceptance_.Sessions();
  counters.started = started_;
  counters.reports_at_work = reports_->active();
  counters.control_sessions = control_server_->connections();
  return counters;
}

absl::StatusOr<std::unique_ptr<RoomHandler>> MakeQueueRoom(
    RoomContext context) {
  auto room =
      std::make_unique<QueueRoom>(std::move(context), [](StoreOptions options) {
        return QueueStore::Open(std::move(options));
      });
  const absl::Status status = room->Start();
  if (!status.ok()) return status;
  return std::unique_ptr<RoomHandler>(std::move(room));
}

}  // namespace holdfast
