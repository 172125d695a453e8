#include "server/queue/queue_engine.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "server/log/log.h"

namespace holdfast {

// The members know each other by address; none is called before all are there.
QueueEngine::QueueEngine(Parts parts)
    : p_(std::move(parts)),
      committer_(p_.loop, p_.store, p_.config, CommitHooks()),
      doors_(DoorHandlers()),
      program_hops_(
          p_.loop,
          [this](TableQuestion question,
                 absl::AnyInvocable<void(TableAnswer)> done) {
            p_.ask_table(std::move(question), guard_.Wrap(std::move(done)));
          },
          [this](DestinationId id) { scheduler_.Wake(id); }),
      dispatcher_(DispatcherParts()),
      scheduler_(SchedulerParts()),
      recorder_(RecorderParts()),
      claims_(ClaimsParts()),
      deadlines_(DeadlineParts()),
      acts_(ActsParts()),
      bulk_acts_(BulkActsParts()),
      router_(p_.config,
              [](const std::string& line) { LogLine(LogLevel::kInfo, line); }) {
  const absl::StatusOr<std::unique_ptr<QueueView>> view = p_.store->View();
  if (view.ok()) envelopes_at_start_ = (*view)->Stats().envelopes;
}

Committer::Hooks QueueEngine::CommitHooks() {
  Committer::Hooks hooks;
  hooks.on_lanes = [this](const std::vector<LaneChange>& lanes) {
    scheduler_.OnLanes(lanes);
  };
  hooks.on_reports = p_.on_reports;
  hooks.on_deadline = [this](absl::Time when) { deadlines_.Note(when); };
  hooks.on_failure = [this](const absl::Status& status) {
    scheduler_.Stop();
    p_.on_failed_sync(status);
  };
  return hooks;
}

WorkerDoors::Handlers QueueEngine::DoorHandlers() {
  WorkerDoors::Handlers h;
  h.on_outcomes = [this](WorkerId worker, BatchOutcomes outcomes) {
    NoteHosts(worker, outcomes);
    recorder_.OnOutcomes(worker, std::move(outcomes));
  };
  h.on_state = [this](WorkerId worker, WorkerState state) {
    claims_.OnState(worker, state);
  };
  h.on_body = [this](WorkerId worker, const BodyRequest& request) {
    OnBody(worker, request);
  };
  h.on_slot = [this](WorkerId worker, const SlotRequest& request) {
    OnSlot(worker, request);
  };
  h.on_slot_report = [this](WorkerId worker, const SlotReport& report) {
    if (!router_.Report(worker, report, p_.loop->Elapsed())) {
      LogDebug("debug: queue: report of an unknown slot");
    }
    PlanRouterWake();
  };
  // Its claims stay until parent says that it is dead.
  h.on_gone = [this](WorkerId worker) {
    router_.DropWorker(worker, p_.loop->Elapsed());
  };
  h.on_room = [this] { scheduler_.Pump(); };
  return h;
}

Dispatcher::Parts QueueEngine::DispatcherParts() {
  Dispatcher::Parts parts;
  parts.loop = p_.loop;
  parts.config = p_.config;
  parts.store = p_.store;
  parts.committer = &committer_;
  parts.in_flight = &in_flight_;
  parts.doors = &doors_;
  parts.router = &router_;
  parts.program_hops = &program_hops_;
  parts.on_claim_failed = [this](const FlyingBatch& batch, bool no_room) {
    recorder_.OnClaimFailed(batch, no_room);
  };
  return parts;
}

Scheduler::Parts QueueEngine::SchedulerParts() {
  Scheduler::Parts parts;
  parts.loop = p_.loop;
  parts.config = p_.config;
  parts.store = p_.store;
  parts.committer = &committer_;
  parts.in_flight = &in_flight_;
  parts.outlet = &dispatcher_;
  return parts;
}

OutcomeRecorder::Parts QueueEngine::RecorderParts() {
  OutcomeRecorder::Parts parts;
  parts.loop = p_.loop;
  parts.config = p_.config;
  parts.store = p_.store;
  parts.committer = &committer_;
  parts.in_flight = &in_flight_;
  parts.doors = &doors_;
  parts.scheduler = &scheduler_;
  parts.on_still_queued = [this](const FlyingEnvelope& envelope) {
    OnStillQueued(envelope);
  };
  return parts;
}

Claims::Parts QueueEngine::ClaimsParts() {
  Claims::Parts parts;
  parts.loop = p_.loop;
  parts.store = p_.store;
  parts.in_flight = &in_flight_;
  parts.recorder = &recorder_;
  parts.on_ready = [this] { OnClaimsKnown(); };
  return parts;
}

DeadlineServer::Parts QueueEngine::DeadlineParts() {
  DeadlineServer::Parts parts;
  parts.loop = p_.loop;
  parts.config = p_.config;
  parts.store = p_.store;
  parts.committer = &committer_;
  parts.in_flight = &in_flight_;
  return parts;
}

OperatorActs::Parts QueueEngine::ActsParts() {
  OperatorActs::Parts parts;
  parts.loop = p_.loop;
  parts.store = p_.store;
  parts.committer = &committer_;
  parts.in_flight = &in_flight_;
  parts.scheduler = &scheduler_;
  parts.look_at_deadline = [this](EnvelopeId id) { deadlines_.Look(id); };
  parts.enable_routes = [this] {
    router_.EnableAll();
    dispatcher_.ForgetRests();
  };
  return parts;
}

BulkActs::Parts QueueEngine::BulkActsParts() {
  BulkActs::Parts parts;
  parts.loop = p_.loop;
  parts.config = p_.config;
  parts.store = p_.store;
  parts.committer = &committer_;
  parts.in_flight = &in_flight_;
  parts.scheduler = &scheduler_;
  parts.acts = &acts_;
  parts.note_deadline = [this](absl::Time when) { deadlines_.Note(when); };
  return parts;
}

void QueueEngine::OnClaimsKnown() {
  doors_.StartReading();
  // Releases go into this commit; what is read behind it finds them done.
  committer_.CommitAlone({}, guard_.Wrap([this](BatchResult) {
    scheduler_.Start();
    deadlines_.Start();
  }));
}

void QueueEngine::Stop() {
  scheduler_.Stop();
  deadlines_.Stop();
}

// Before the outcomes are recorded, while the envelopes are at hand.
void QueueEngine::NoteHosts(WorkerId worker, const BatchOutcomes& outcomes) {
  const BatchKey key(worker, outcomes.batch);
  const absl::Time now = p_.loop->Now();
  for (const WorkerOutcome& outcome : outcomes.outcomes) {
    const FlyingEnvelope* e = in_flight_.Find(outcome.envelope);
    if (e == nullptr || e->batch != key || !e->envelope ||
        e->envelope->kind != DeliveryKind::kMta) {
      continue;
    }
    const bool tried = outcome.result != WorkerOutcome::Result::kReturned;
    const std::string& said =
        tried ? outcome.text : outcomes.destination_failure;
    if (!said.empty()) host_stats_.Note(e->envelope->dest.domain, said, now);
  }
  if (outcomes.finished) router_.EndTasks(key);
}

void QueueEngine::OnStillQueued(const FlyingEnvelope& envelope) {
  acts_.AfterFlight(envelope);
  bulk_acts_.AfterFlight(envelope);
  if (envelope.deadline && !envelope.remove) deadlines_.Look(envelope.id);
}

// A worker reads bodies of what it has, and no others.
void QueueEngine::OnBody(WorkerId worker, const BodyRequest& request) {
  BodyPart refused;
  refused.question = request.question;
  if (request.count == 0 || request.count > kMaxBodyChunks ||
      !in_flight_.WorkerHas(worker, request.message)) {
    return doors_.Send(worker, refused);
  }
  auto read = [request](const QueueView& view) {
    return view.BodyChunks(request.message, request.first, request.count);
  };
  using Chunks = absl::StatusOr<std::vector<std::string>>;
  ReadThenPost(p_.loop, p_.store, std::move(read),
               guard_.Wrap([this, worker, part = std::move(refused)](
                               absl::StatusOr<Chunks> chunks) mutable {
                 if (chunks.ok() && chunks->ok()) {
                   part.ok = true;
                   part.chunks = **std::move(chunks);
                 }
                 doors_.Send(worker, part);
               }));
}

void QueueEngine::OnSlot(WorkerId worker, const SlotRequest& request) {
  doors_.Send(worker, router_.Ask(worker, request, p_.loop->Elapsed()));
  PlanRouterWake();
}

void QueueEngine::PlanRouterWake() {
  const absl::Duration at = router_.NextWake();
  if (at >= router_wake_at_) return;
  router_wake_at_ = at;
  router_wake_ = p_.loop->RunAfter(
      std::max(absl::ZeroDuration(), at - p_.loop->Elapsed()), [this] {
        router_wake_at_ = absl::InfiniteDuration();
        router_.Wake(p_.loop->Elapsed());
        PlanRouterWake();
      });
}

void QueueEngine::Count(QueueCounters* counters) const {
  const Committer::Totals& totals = committer_.totals();
  counters->enqueued = totals.enqueued;
  counters->dequeued = totals.dequeued;
  counters->updated = totals.updated;
  counters->bounces = totals.reports;
  counters->envelopes_now =
      envelopes_at_start_ + totals.enqueued - totals.dequeued;
  const OutcomeCounts& outcomes = recorder_.counts();
  counters->ok = outcomes.ok;
  counters->tempfail = outcomes.tempfail;
  counters->permfail = outcomes.permfail;
  counters->loop = outcomes.loop;
  counters->removed = outcomes.removed + acts_.removed() + bulk_acts_.removed();
  counters->expired = deadlines_.expired() + bulk_acts_.expired();
  counters->inflight_now = in_flight_.size();
  const InFlight::KindCounts mda = in_flight_.CountKind(DeliveryKind::kMda);
  counters->mda_envelopes = mda.envelopes;
  counters->mda_running = mda.with_worker;
  counters->mda_users = mda.destinations;
}

}  // namespace holdfast
