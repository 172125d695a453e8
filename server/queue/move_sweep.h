// What `queue export --move` does to the queue besides reading it: marks mail
// as being moved, and later ends it or gives it back.  One thread: the loop's.
#ifndef HOLDFAST_SERVER_QUEUE_MOVE_SWEEP_H_
#define HOLDFAST_SERVER_QUEUE_MOVE_SWEEP_H_

#include <cstdint>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "protocol/envelope_filter.h"
#include "server/queue/queue_services.h"
#include "storage/queue_batch.h"

namespace holdfast {

// As a filter: what a move has, or an interrupted one has left.
inline constexpr char kMovingFilter[] = "flag = move";

EnvelopeFilter MovingFilter(QueueServices* services);

struct SweepCounts {
  uint64_t done = 0;
  uint64_t in_flight = 0;  // these stay
  absl::Status status;     // not ok: the rest was not done
};

// Does `act` (kMove, kMoveBack or kMoved) to all that `filter` matches, at most
// QueueServices::kActSlice in each commit.  Goes on whoever still listens.
void SweepQueue(QueueServices* services, EnvelopeFilter filter,
                ActOnEnvelope::Act act,
                absl::AnyInvocable<void(SweepCounts)> done);

// Gives back all that is marked (kMoveBack): tried again, after 1 s, 2 s, ...
// 60 s, until it is done or another move has marks of its own (NoteMarks()).
// SetMoveRunning(false) comes with the first end, good or bad, which `done` is
// told.
void GiveBackMoved(
    QueueServices* services,
    absl::AnyInvocable<void(SweepCounts)> done = [](const SweepCounts&) {});

// Whether anything is marked: page by page, as far as the first.
void FindMoved(QueueServices* services,
               absl::AnyInvocable<void(absl::StatusOr<bool>)> done);

// A move begins to mark.
void NoteMarks();
// The room ends: nothing is tried again.  What is marked then is found at the
// next start (FindMoved()).
void EndMoves();

// Whether an export is at work on what is marked.  While none is, operators may
// remove or release it.
bool MoveIsRunning();
void SetMoveRunning(bool running);
// It is what an interrupted move has left.
inline bool MayEndMove(const Envelope& envelope) {
  return (envelope.flags & kFlagMoving) != 0 && !MoveIsRunning();
}

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_MOVE_SWEEP_H_
