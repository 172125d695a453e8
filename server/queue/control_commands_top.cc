// top: one snapshot of counters and of the largest backlogs, for `smtpctl top`,
// which asks again for the next.  The answer is the bytes of a TopSnapshot.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "protocol/top_snapshot.h"
#include "protocol/wire.h"
#include "server/queue/control_command.h"
#include "server/queue/control_read.h"
#include "server/queue/router.h"

namespace holdfast {
namespace {

std::string Cut(const std::string& text) { return text.substr(0, kMaxTopText); }

TopCounters CountersOf(const QueueCounters& c) {
  const SessionCounts& s = c.sessions;
  TopCounters t;
  t.connected = s.inet4 + s.inet6 + s.local;
  t.disconnected = s.closed;
  t.enqueued = c.enqueued;
  t.dequeued = c.dequeued;
  t.ok = c.ok;
  t.tempfail = c.tempfail;
  t.permfail = c.permfail;
  t.loop = c.loop;
  t.expired = c.expired;
  t.removed = c.removed;
  t.bounces = c.bounces;
  t.refused = s.refused_sessions + s.refused_by_source + s.refused_by_network +
              s.refused_connects + s.refused_mails;
  return t;
}

// The loop's part of the gauges; the store's is read later.
TopGauges GaugesOf(QueueServices* services, const QueueCounters& c) {
  TopGauges g;
  g.sessions = c.sessions.now;
  g.tls = c.sessions.tls + c.sessions.smtps;
  g.relay_sessions = services->router()->Counts().sessions;
  g.envelopes = c.envelopes_now;
  g.inflight = c.inflight_now;
  g.smtp_paused = services->IsSmtpPaused();
  g.mta_paused = services->IsPaused(DeliveryKind::kMta);
  g.mda_paused = services->IsPaused(DeliveryKind::kMda);
  return g;
}

void ReadGauges(const QueueView& view, TopGauges* g) {
  const StoreStats stats = view.Stats();
  g->messages = stats.messages;
  g->destinations = stats.destinations;
  g->reports = stats.reports;
  g->aside = stats.aside;
  g->used_bytes = stats.used_bytes;
  g->size_limit = stats.size_limit;
  g->accepting = stats.accepting;
}

struct Known {
  DestinationId id{};
  uint64_t inflight = 0;
};

// A few rows for each: what has gone since is left out.
void ReadLargest(const QueueView& view, const std::vector<Known>& known,
                 std::vector<TopDestination>* out) {
  for (const Known& k : known) {
    const auto row = view.Destination(k.id);
    if (!row.ok() || row->envelopes == 0) continue;
    TopDestination& t = out->emplace_back();
    t.kind = row->kind;
    t.action = Cut(row->action);
    t.routing_key = Cut(row->routing_key);
    t.envelopes = row->envelopes;
    t.inflight = k.inflight;
    t.failures = row->failures;
    t.first_failure = row->first_failure;
    t.next = std::max(row->next_due, row->postponed_until);
    t.error = Cut(row->error);
    const auto first =
        view.Lane(k.id, LanePosition(), absl::InfiniteFuture(), 1);
    if (first.empty()) continue;
    const auto envelope = view.FindEnvelope(first[0].envelope);
    if (envelope.ok()) t.oldest = envelope->created;
  }
  std::stable_sort(out->begin(), out->end(),
                   [](const TopDestination& a, const TopDestination& b) {
                     return a.envelopes > b.envelopes;
                   });
}

class TopCommand : public ControlCommand,
                   public std::enable_shared_from_this<TopCommand> {
 public:
  TopCommand(QueueServices* services, ControlOutput* output, size_t limit)
      : services_(services), output_(output), limit_(limit) {}

  void OnCredit() override {
    if (asked_) return output_->Done(done_);
    asked_ = true;
    const QueueCounters counters = services_->Counters();
    TopSnapshot snapshot;
    snapshot.now = services_->loop()->Now();
    snapshot.started = counters.started;
    snapshot.counters = CountersOf(counters);
    snapshot.gauges = GaugesOf(services_, counters);
    QueueStore* store = services_->store();
    CommitFigures commits = store->Commits();
    snapshot.commit_operations = std::move(commits.operations);
    snapshot.commit_microseconds = std::move(commits.microseconds);
    std::vector<Known> known;
    for (const DestinationBacklog& b : store->LargestBacklogs(limit_))
      known.push_back({b.destination, services_->InFlightOf(b.destination)});
    ReadForCommand(
        services_, weak_from_this(),
        [snapshot = std::move(snapshot),
         known = std::move(known)](const QueueView& view) mutable {
          ReadGauges(view, &snapshot.gauges);
          ReadLargest(view, known, &snapshot.largest);
          return std::move(snapshot);
        },
        [](TopCommand& self, absl::StatusOr<TopSnapshot> snapshot) {
          self.OnSnapshot(std::move(snapshot));
        });
  }

 private:
  void OnSnapshot(absl::StatusOr<TopSnapshot> snapshot) {
    if (snapshot.ok()) return output_->Text(Encode(*snapshot));
    done_.ok = false;
    done_.error = std::string(snapshot.status().message());
    output_->Done(done_);
  }

  QueueServices* const services_;
  ControlOutput* const output_;
  const size_t limit_;
  bool asked_ = false;
  ControlDone done_;
};

}  // namespace

// top N
std::shared_ptr<ControlCommand> MakeTopCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output) {
  size_t limit = 0;
  if (words.size() != 2 || words[0] != "top" ||
      !absl::SimpleAtoi(words[1], &limit))
    return nullptr;
  return std::make_shared<TopCommand>(services, output,
                                      std::min(limit, kMaxTopDestinations));
}

}  // namespace holdfast
