// What `smtpctl top` is told each time it asks: the server's counters and its
// largest backlogs.  Bounded.
#ifndef HOLDFAST_PROTOCOL_TOP_SNAPSHOT_H_
#define HOLDFAST_PROTOCOL_TOP_SNAPSHOT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "protocol/envelope.h"
#include "protocol/log_histogram.h"

namespace holdfast {

// Destinations in a snapshot, at most.
inline constexpr size_t kMaxTopDestinations = 200;
// Octets of a text in it.
inline constexpr size_t kMaxTopText = 200;

// Texts are as they came from outside.
struct TopDestination {
  DeliveryKind kind = DeliveryKind::kMta;
  std::string action, routing_key;
  uint64_t envelopes = 0;  // waiting or in flight
  uint64_t inflight = 0;
  uint32_t failures = 0;  // of its hosts, in a row
  // Infinite past: none.  `next` is when something of it may be tried, `oldest`
  // when the envelope that is first in line was accepted.
  absl::Time first_failure = absl::InfinitePast();
  absl::Time next = absl::InfinitePast();
  absl::Time oldest = absl::InfinitePast();
  std::string error;
  template <class A>
  void Fields(A& a) {
    a(kind, action, routing_key, envelopes, inflight, failures);
    a(first_failure, next, oldest, error);
  }
};

// Counted since start.
struct TopCounters {
  uint64_t connected = 0, disconnected = 0;
  uint64_t enqueued = 0, dequeued = 0;
  uint64_t ok = 0, tempfail = 0, permfail = 0, loop = 0;
  uint64_t expired = 0, removed = 0, bounces = 0;
  // Connections and messages that a limit of `smtp limit` refused.
  uint64_t refused = 0;
  template <class A>
  void Fields(A& a) {
    a(connected, disconnected, enqueued, dequeued, ok, tempfail, permfail);
    a(loop, expired, removed, bounces, refused);
  }
};

// Now.
struct TopGauges {
  uint64_t sessions = 0, tls = 0;  // of clients
  uint64_t relay_sessions = 0;     // of ours with next hops
  uint64_t envelopes = 0, inflight = 0;
  uint64_t messages = 0, destinations = 0, reports = 0, aside = 0;
  uint64_t used_bytes = 0, size_limit = 0;
  bool accepting = true;
  bool smtp_paused = false, mta_paused = false, mda_paused = false;
  template <class A>
  void Fields(A& a) {
    a(sessions, tls, relay_sessions, envelopes, inflight, messages);
    a(destinations, reports, aside, used_bytes, size_limit, accepting);
    a(smtp_paused, mta_paused, mda_paused);
  }
};

struct TopSnapshot {
  absl::Time now, started;
  TopCounters counters;
  TopGauges gauges;
  // Of each commit: operations in it, and how long it took.
  LogHistogram commit_operations, commit_microseconds;
  std::vector<TopDestination> largest;  // by envelopes, largest first
  template <class A>
  void Fields(A& a) {
    a(now, started, counters, gauges, commit_operations, commit_microseconds);
    a(largest);
  }
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_TOP_SNAPSHOT_H_
