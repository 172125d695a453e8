// Walks the envelopes that match a filter, a bounded part of the store at a
// time: each Step() is for a read view of its own, so that no walk keeps old
// pages alive.  By the rows of an index where the filter's hints allow it, else
// by all envelopes in order of id.
//
// What stays in the queue during the walk is met exactly once by a walk in
// order of id.  A walk by destination or time goes lane by lane: an envelope
// whose time is changed meanwhile may be met again (its new time is later) or
// not at all (it was made earlier).
#ifndef HOLDFAST_STORAGE_QUEUE_WALK_H_
#define HOLDFAST_STORAGE_QUEUE_WALK_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/envelope_filter.h"
#include "storage/queue_store.h"

namespace holdfast {

inline constexpr size_t kMaxWalkRows = 1000;

// One thread at a time.
class QueueWalk {
 public:
  enum class Plan : uint8_t {
    kIds,           // the ids of the hints
    kMessages,      // the messages of the hints
    kDestinations,  // lanes and held rows of destinations that can match
    kHeld,          // the table of held envelopes
    kDue,           // the agenda's destinations, their lanes up to the time
    kAll,
  };
  // `relay_actions`: names of actions whose destinations are looked up first,
  // so that the first of many destinations is there at once; may be empty.
  explicit QueueWalk(EnvelopeFilter filter,
                     std::vector<std::string> relay_actions = {});

  // Goes on where the last step ended; looks at no more than `max_rows` rows of
  // any table (at most kMaxWalkRows) and appends what matches.  Damaged rows
  // are passed over.  An error: the store can't be read; the walk is where it
  // was.  `now` is for the states of envelopes.
  absl::Status Step(const QueueView& view, absl::Time now, size_t max_rows,
                    std::vector<EnvelopeFacts>* found);
  // There is nothing more.
  bool ended() const { return state_.ended; }
  // Rows looked at so far.
  uint64_t looked_at() const { return looked_at_; }
  Plan plan() const { return plan_; }

  // Where it is, for another walk with the same filter text and actions to go
  // on from.  Opaque.  kInvalidArgument: not a cursor of such a walk.
  std::string Cursor() const;
  absl::Status Resume(absl::string_view cursor);

 private:
  // Where the walk is; what is used depends on the plan.
  struct Position {
    uint8_t plan = 0;
    bool ended = false;
    uint64_t index = 0;           // of a list of the plan
    EnvelopeId envelope{};        // behind this
    DestinationId destination{};  // in or behind this
    absl::Time agenda = absl::InfinitePast();
    // Of `destination`: not inside, in its lane, in its held rows.
    enum class Part : uint8_t { kNone, kLane, kHeld } part = Part::kNone;
    LanePosition lane;  // behind this

    template <class A>
    void Fields(A& a) {
      a(plan, ended, index, envelope, destination, agenda, part);
      a(lane.priority, lane.due, lane.envelope);
    }
  };
  class Stepper;

  const EnvelopeFilter filter_;
  const std::vector<std::string> relay_actions_;
  const Plan plan_;
  Position state_;
  uint64_t looked_at_ = 0;
};

// What is known of one envelope now.
absl::StatusOr<EnvelopeFacts> FactsOf(const QueueView& view, EnvelopeId id,
                                      absl::Time now);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_QUEUE_WALK_H_
