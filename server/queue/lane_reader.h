// Reads what a destination has to hand out: the part of dispatching that waits
// for the disk, run on the store's reader thread.  Knows only a QueueView.
#ifndef HOLDFAST_SERVER_QUEUE_LANE_READER_H_
#define HOLDFAST_SERVER_QUEUE_LANE_READER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "protocol/envelope.h"
#include "storage/queue_store.h"

namespace holdfast {

// Recipients of one transaction: what every server must take (RFC 5321,
// section 4.5.3.1.8).
inline constexpr size_t kMaxBatchRecipients = 100;

// Bodies one reading may hold.
inline constexpr size_t kMaxLoadedBytes = 4 << 20;

// Stored octets of bodies that weigh as much as an envelope.
inline constexpr uint64_t kOctetsPerEnvelope = 64 << 10;

struct LaneRequest {
  DestinationId destination{};
  LanePosition after;  // start behind this row
  absl::Time now;
  size_t want = 0;  // envelopes
  // What they may weigh with their bodies, in envelopes.
  uint64_t weight = UINT32_MAX;
  // Rows to pass over: in flight, or unreadable.
  absl::flat_hash_set<EnvelopeId> skip;
};

struct LoadedMessage {
  MessageRow row;
  std::string stored;   // if row.body.chunks == 1
  absl::Status status;  // not OK: row or body can't be read
};

struct LaneContents {
  absl::Status status;  // kNotFound: the destination is gone
  DestinationRow row;
  std::vector<Envelope> envelopes;  // in the order of the lane
  absl::flat_hash_map<MessageId, LoadedMessage> messages;  // theirs
  // Rows whose envelope can't be read.
  std::vector<std::pair<EnvelopeId, absl::Status>> unreadable;
  LanePosition last;       // the last row that was looked at
  bool exhausted = false;  // nothing more was due behind `last`
  absl::Time next_due = absl::InfiniteFuture();  // if so: what will be
};

// At most `want` envelopes, until `weight` is reached, and kMaxLoadedBytes of
// bodies, of a lane; none if the destination is postponed.
LaneContents ReadLane(const QueueView& view, const LaneRequest& request);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_LANE_READER_H_
