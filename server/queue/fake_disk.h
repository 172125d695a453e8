// What a queue keeps, in memory: the disk of tests.
#ifndef HOLDFAST_SERVER_QUEUE_FAKE_DISK_H_
#define HOLDFAST_SERVER_QUEUE_FAKE_DISK_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "storage/queue_store.h"

namespace holdfast {

// Everything that would be on the disk; outlives a FakeDiskStore, as a disk
// does.
struct FakeDisk {
  struct Destination {
    DestinationRow row;
    // (-priority, due, envelope)
    std::set<std::tuple<int, absl::Time, EnvelopeId>> lane;
    std::set<std::pair<absl::Time, EnvelopeId>> by_due;  // the same rows
  };
  struct Message {
    MessageRow row;
    std::vector<std::string> chunks;
  };
  struct Report {
    Envelope envelope;
    absl::Time added;
  };
  using ReportId = std::pair<EnvelopeId, ReportKind>;
  using ClaimId = std::pair<WorkerId, BatchId>;
  using Route = std::tuple<DeliveryKind, std::string, std::string>;

  std::map<MessageId, Message> messages;
  std::map<EnvelopeId, Envelope> envelopes;
  std::map<EnvelopeId, absl::Time> due;  // of those in a lane
  std::map<EnvelopeId, absl::Time> deadlines;
  std::map<DestinationId, Destination> destinations;
  std::map<Route, DestinationId> destination_ids;
  std::map<ClaimId, std::set<EnvelopeId>> claims;
  std::map<EnvelopeId, ClaimId> claimed;
  std::map<ReportId, Report> reports;
  std::map<MessageId, std::vector<std::string>> incoming;
  std::set<EnvelopeId> in_doubt;
  std::vector<HistoryRow> history;  // by (envelope, serial); tests fill it
  Ledger ledger;
  uint32_t last_message = 0x1000;
  uint32_t last_destination = 0;
  uint64_t starts = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_FAKE_DISK_H_
