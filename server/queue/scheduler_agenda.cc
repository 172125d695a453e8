// The scheduler's side towards the agenda: which destinations become active.
#include <algorithm>
#include <limits>

#include "protocol/vis.h"
#include "server/log/log.h"
#include "server/queue/scheduler.h"

namespace holdfast {
namespace {

constexpr DestinationId kLastDestination{std::numeric_limits<uint32_t>::max()};

}  // namespace

bool Scheduler::SetPaused(DeliveryKind kind, bool paused) {
  bool& state = kind == DeliveryKind::kMta ? mta_paused_ : mda_paused_;
  if (state == paused) return false;
  state = paused;
  if (paused) {
    std::vector<DestinationId> ids;
    for (const auto& [id, a] : active_) ids.push_back(id);
    for (DestinationId id : ids) RetireIfDone(id);
  } else {
    for (auto& [id, a] : active_) {
      if (a.row.kind == kind) Enqueue(&a);
    }
    Scan();
    Pump();
  }
  return true;
}

void Scheduler::Touch(DestinationId id, DeliveryKind kind) {
  if (Active* a = Find(id)) {
    a->rewind = a->more = true;
    Enqueue(a);
    return;
  }
  if (!running_ || IsPaused(kind)) return;
  if (active_.size() >= kWindow || scan_ == ScanState::kWindowFull) {
    scan_again_ = true;
    return;
  }
  Enqueue(&Activate(id, kind));
}

void Scheduler::OnLanes(const std::vector<LaneChange>& lanes) {
  const absl::Time now = p_.loop->Now();
  for (const LaneChange& lane : lanes) {
    if (lane.due <= now) {
      Touch(lane.destination, lane.kind);
    } else {
      WakeAt(lane.due);
    }
  }
  Pump();
}

void Scheduler::WakeAt(absl::Time when) {
  if (!running_ || when >= wake_at_ || when == absl::InfinitePast()) return;
  wake_at_ = when;
  const absl::Duration delay =
      std::clamp(when - p_.loop->Now(), absl::ZeroDuration(), kMaxSleep);
  wake_ = p_.loop->RunAfter(delay, [this] {
    wake_at_ = absl::InfiniteFuture();
    Scan();
  });
}

void Scheduler::Scan() {
  if (!running_) return;
  if (scan_ != ScanState::kIdle) {
    scan_again_ = true;
    return;
  }
  scan_again_ = false;
  cursor_ = {absl::InfinitePast(), DestinationId(0)};
  ReadAgenda();
}

// Goes on behind the cursor.  While the window is full the scan stands; each
// destination that leaves makes room for the next, so that all have their turn.
void Scheduler::ReadAgenda() {
  const size_t room = kWindow - std::min(kWindow, active_.size());
  const size_t limit = std::clamp<size_t>(room, 16, 256);
  const absl::Time now = p_.loop->Now();
  scan_ = ScanState::kReading;
  auto read = [cursor = cursor_, now, limit](const QueueView& view) {
    AgendaPage page;
    page.last = cursor;
    const auto rows = view.Agenda(cursor.first, cursor.second, now, limit);
    for (const auto& [due, id] : rows) {
      page.last = {due, id};
      absl::StatusOr<DestinationRow> row = view.Destination(id);
      if (row.ok()) page.rows.emplace_back(due, *std::move(row));
    }
    page.end = rows.size() < limit;
    if (!page.end) return page;
    const auto next =
        view.Agenda(now, kLastDestination, absl::InfiniteFuture(), 1);
    if (!next.empty()) page.next_due = next[0].first;
    return page;
  };
  ReadThenPost(p_.loop, p_.store, std::move(read),
               guard_.Wrap([this](absl::StatusOr<AgendaPage> page) {
                 OnAgenda(std::move(page));
               }));
}

void Scheduler::OnAgenda(absl::StatusOr<AgendaPage> page) {
  scan_ = ScanState::kIdle;
  if (!running_) return;
  if (!page.ok()) {
    LogWarn("warn: queue: cannot read the store: %s",
            VisEncode(std::string(page.status().message())));
    return WakeAt(p_.loop->Now() + kRest);
  }
  for (auto& [due, row] : page->rows) {
    const DestinationId id = row.id;
    if (Active* a = Find(id)) {
      a->rewind = a->more = true;
      Enqueue(a);
    } else if (!IsPaused(row.kind)) {
      if (active_.size() >= kWindow) {
        scan_ = ScanState::kWindowFull;
        return Pump();
      }
      Active& fresh = Activate(id, row.kind);
      fresh.row = std::move(row);
      Enqueue(&fresh);
    }
    cursor_ = {due, id};
  }
  cursor_ = page->last;
  if (!page->end) {
    ReadAgenda();
  } else {
    WakeAt(std::min(page->next_due, p_.loop->Now() + kMaxSleep));
    if (scan_again_) Scan();
  }
  Pump();
}

}  // namespace holdfast
