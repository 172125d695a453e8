// The QueueView of a FakeDiskStore.
#ifndef HOLDFAST_SERVER_QUEUE_FAKE_QUEUE_VIEW_H_
#define HOLDFAST_SERVER_QUEUE_FAKE_QUEUE_VIEW_H_

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/queue/fake_disk.h"
#include "storage/queue_store.h"

namespace holdfast {

class FakeDiskView : public QueueView {
 public:
  struct Source {
    const FakeDisk* disk;
    const std::set<MessageId>* damaged;  // bodies that can't be read
    uint64_t commits;
    bool accepting;
  };
  explicit FakeDiskView(const Source& source)
      : source_(source), d_(*source.disk) {}

  std::vector<std::pair<absl::Time, DestinationId>> Agenda(
      absl::Time after_due, DestinationId after, absl::Time until,
      size_t limit) const override {
    std::vector<std::pair<absl::Time, DestinationId>> all;
    for (const auto& [id, destination] : d_.destinations) {
      if (destination.by_due.empty()) continue;
      const absl::Time due = std::max(destination.by_due.begin()->first,
                                      destination.row.postponed_until);
      const std::pair<absl::Time, DestinationId> row(due, id);
      if (due <= until && row > std::make_pair(after_due, after)) {
        all.push_back(row);
      }
    }
    std::sort(all.begin(), all.end());
    if (all.size() > limit) all.resize(limit);
    return all;
  }

  absl::StatusOr<DestinationRow> Destination(DestinationId id) const override {
    const auto it = d_.destinations.find(id);
    if (it == d_.destinations.end()) return absl::NotFoundError("none");
    DestinationRow row = it->second.row;
    row.envelopes = it->second.lane.size();
    row.next_due = it->second.by_due.empty() ? absl::InfiniteFuture()
                                             : it->second.by_due.begin()->first;
    return row;
  }

  absl::StatusOr<DestinationRow> DestinationOf(
      const Envelope& e) const override {
    const auto it = d_.destination_ids.find({e.kind, e.action, e.routing_key});
    if (it == d_.destination_ids.end()) return absl::NotFoundError("none");
    return Destination(it->second);
  }

  std::vector<LanePosition> Lane(DestinationId id, LanePosition after,
                                 absl::Time until,
                                 size_t limit) const override {
    std::vector<LanePosition> out;
    const auto it = d_.destinations.find(id);
    if (it == d_.destinations.end()) return out;
    const auto& lane = it->second.lane;
    for (auto row =
             lane.upper_bound({-after.priority, after.due, after.envelope});
         row != lane.end() && out.size() < limit; ++row) {
      if (std::get<1>(*row) > until) continue;
      out.push_back({static_cast<int8_t>(-std::get<0>(*row)), std::get<1>(*row),
                     std::get<2>(*row)});
    }
    return out;
  }

  absl::StatusOr<Envelope> FindEnvelope(EnvelopeId id) const override {
    const auto it = d_.envelopes.find(id);
    if (it == d_.envelopes.end()) return absl::NotFoundError("gone");
    return it->second;
  }

  absl::StatusOr<MessageRow> FindMessage(MessageId id) const override {
    const auto it = d_.messages.find(id);
    if (it == d_.messages.end()) return absl::NotFoundError("gone");
    return it->second.row;
  }

  absl::StatusOr<std::vector<std::string>> BodyChunks(
      MessageId id, uint32_t first, uint32_t count) const override {
    if (source_.damaged->count(id)) return absl::DataLossError("damaged");
    const auto it = d_.messages.find(id);
    if (it == d_.messages.end()) return absl::NotFoundError("gone");
    const std::vector<std::string>& chunks = it->second.chunks;
    if (first > chunks.size() || count > chunks.size() - first) {
      return absl::OutOfRangeError("no such chunk");
    }
    return std::vector<std::string>(chunks.begin() + first,
                                    chunks.begin() + first + count);
  }

  std::optional<absl::Time> DueOf(const Envelope& e) const override {
    const auto it = d_.due.find(e.id);
    if (it == d_.due.end()) return std::nullopt;
    return it->second;
  }

  bool IsClaimed(EnvelopeId id) const override {
    return d_.claimed.count(id) > 0;
  }

  std::vector<DeadlineRow> Deadlines(absl::Time until,
                                     size_t limit) const override {
    std::vector<DeadlineRow> rows;
    for (const auto& [id, when] : d_.deadlines) {
      if (when <= until) rows.push_back({when, id});
    }
    std::sort(rows.begin(), rows.end(),
              [](const DeadlineRow& a, const DeadlineRow& b) {
                return std::make_pair(a.when, a.envelope) <
                       std::make_pair(b.when, b.envelope);
              });
    if (rows.size() > limit) rows.resize(limit);
    return rows;
  }

  std::optional<absl::Time> FirstDeadline() const override {
    const std::vector<DeadlineRow> rows = Deadlines(absl::InfiniteFuture(), 1);
    if (rows.empty()) return std::nullopt;
    return rows[0].when;
  }

  std::vector<PendingReport> Reports(ReportKey after,
                                     size_t limit) const override {
    std::vector<PendingReport> out;
    for (auto it = d_.reports.upper_bound({after.envelope, after.kind});
         it != d_.reports.end() && out.size() < limit; ++it) {
      PendingReport report;
      report.key = {it->first.first, it->first.second};
      report.envelope = it->second.envelope;
      report.added = it->second.added;
      out.push_back(report);
    }
    return out;
  }

  std::vector<ClaimRow> Claims() const override {
    std::vector<ClaimRow> out;
    for (const auto& [id, envelopes] : d_.claims) {
      ClaimRow row;
      row.worker = id.first;
      row.batch = id.second;
      row.envelopes.assign(envelopes.begin(), envelopes.end());
      out.push_back(row);
    }
    return out;
  }

  std::vector<DoubtRow> Doubts(size_t limit) const override {
    std::vector<DoubtRow> out;
    for (EnvelopeId id : d_.in_doubt) {
      if (out.size() == limit) break;
      out.emplace_back().envelope = id;
    }
    return out;
  }

  std::vector<HistoryRow> History(EnvelopeId first, uint64_t after,
                                  EnvelopeId last,
                                  size_t limit) const override {
    std::vector<HistoryRow> out;
    for (const HistoryRow& row : d_.history) {
      const EnvelopeId id = row.envelope.id;
      if (out.size() < limit && id <= last &&
          std::make_pair(id, row.serial) > std::make_pair(first, after)) {
        out.push_back(row);
      }
    }
    return out;
  }

  std::vector<Envelope> Envelopes(EnvelopeId after,
                                  size_t limit) const override {
    std::vector<Envelope> out;
    for (auto it = d_.envelopes.upper_bound(after);
         it != d_.envelopes.end() && out.size() < limit; ++it) {
      out.push_back(it->second);
    }
    return out;
  }

  std::vector<std::pair<DestinationId, EnvelopeId>> Held(
      DestinationId from, EnvelopeId after, size_t limit) const override {
    std::set<std::pair<DestinationId, EnvelopeId>> rows;
    for (const auto& [id, e] : d_.envelopes) {
      if (d_.due.count(id) > 0) continue;
      const auto found =
          d_.destination_ids.find({e.kind, e.action, e.routing_key});
      rows.emplace(
          found == d_.destination_ids.end() ? DestinationId{} : found->second,
          id);
    }
    std::vector<std::pair<DestinationId, EnvelopeId>> out;
    for (auto row = rows.upper_bound({from, after});
         row != rows.end() && out.size() < limit; ++row)
      out.push_back(*row);
    return out;
  }

  absl::StatusOr<DestinationRow> FindDestination(
      DeliveryKind kind, const std::string& action,
      const std::string& routing_key) const override {
    const auto it = d_.destination_ids.find({kind, action, routing_key});
    if (it == d_.destination_ids.end()) return absl::NotFoundError("none");
    return Destination(it->second);
  }

  std::vector<DestinationRow> Destinations(DestinationId after,
                                           size_t limit) const override {
    std::vector<DestinationRow> out;
    for (auto it = d_.destinations.upper_bound(after);
         it != d_.destinations.end() && out.size() < limit; ++it) {
      out.push_back(*Destination(it->first));
    }
    return out;
  }

  Ledger ReadLedger() const override { return d_.ledger; }

  StoreStats Stats() const override {
    StoreStats s;
    s.messages = d_.messages.size();
    s.envelopes = d_.envelopes.size();
    s.reports = d_.reports.size();
    s.incoming = d_.incoming.size();
    s.claims = d_.claims.size();
    s.destinations = d_.destinations.size();
    s.commits = source_.commits;
    s.accepting = source_.accepting;
    return s;
  }

 private:
  const Source source_;
  const FakeDisk& d_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_FAKE_QUEUE_VIEW_H_
