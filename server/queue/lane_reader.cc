#include "server/queue/lane_reader.h"

#include <algorithm>

namespace holdfast {
namespace {

constexpr size_t kPage = 256;

LoadedMessage LoadMessage(const QueueView& view, MessageId id) {
  LoadedMessage m;
  absl::StatusOr<MessageRow> row = view.FindMessage(id);
  if (!row.ok()) {
    m.status = row.status();
    return m;
  }
  m.row = *row;
  if (m.row.body.chunks != 1) return m;
  absl::StatusOr<std::vector<std::string>> chunks = view.BodyChunks(id, 0, 1);
  if (!chunks.ok()) {
    m.status = chunks.status();
  } else if (chunks->size() != 1) {
    m.status = absl::DataLossError("body is missing");
  } else {
    m.stored = std::move(chunks->front());
  }
  return m;
}

// When something of a lane becomes due that is not due at `now`.  The agenda
// does not say: it names the earliest row, which may be in flight.
absl::Time NextDue(const QueueView& view, DestinationId id, absl::Time now) {
  constexpr EnvelopeId kLast{~uint64_t{0}};
  absl::Time next = absl::InfiniteFuture();
  LanePosition from;
  from.due = now;
  from.envelope = kLast;
  for (;;) {
    const auto rows = view.Lane(id, from, absl::InfiniteFuture(), 1);
    if (rows.empty()) return next;
    const LanePosition& row = rows[0];
    from.priority = row.priority;
    from.due = now;
    if (row.due <= now) continue;  // the head of a lower priority
    next = std::min(next, row.due);
    from.due = absl::InfiniteFuture();  // on to lower priorities
  }
}

class Reading {
 public:
  Reading(const QueueView& view, const LaneRequest& request,
          LaneContents* contents)
      : view_(view), request_(request), out_(*contents) {}

  // False: enough.
  bool Take(const LanePosition& position) {
    if (request_.skip.contains(position.envelope)) return true;
    if (IsEnough() && !ContinuesMessage(position)) return false;
    absl::StatusOr<Envelope> envelope = view_.FindEnvelope(position.envelope);
    if (!envelope.ok()) {
      out_.unreadable.emplace_back(position.envelope, envelope.status());
      return true;
    }
    const MessageId id = MessageOf(position.envelope);
    if (!out_.messages.contains(id)) {
      LoadedMessage message = LoadMessage(view_, id);
      bytes_ += message.stored.size();
      octets_ += message.row.body.stored_bytes;
      out_.messages.emplace(id, std::move(message));
    }
    if (MessageOf(id_) == id) {
      ++recipients_;
    } else {
      recipients_ = 1;
    }
    id_ = position.envelope;
    out_.envelopes.push_back(*std::move(envelope));
    return true;
  }

 private:
  bool IsEnough() const {
    return out_.envelopes.size() >= request_.want ||
           bytes_ >= kMaxLoadedBytes ||
           out_.envelopes.size() + octets_ / kOctetsPerEnvelope >=
               request_.weight;
  }
  // The recipients of a message go in one transaction: the limit doesn't cut
  // between them, up to what a transaction takes.
  bool ContinuesMessage(const LanePosition& position) const {
    return !out_.envelopes.empty() &&
           MessageOf(position.envelope) == MessageOf(id_) &&
           recipients_ < kMaxBatchRecipients;
  }

  const QueueView& view_;
  const LaneRequest& request_;
  LaneContents& out_;
  size_t bytes_ = 0;       // in memory
  uint64_t octets_ = 0;    // stored, of all bodies
  EnvelopeId id_{};        // taken last
  size_t recipients_ = 0;  // of its message, taken one after the other
};

}  // namespace

LaneContents ReadLane(const QueueView& view, const LaneRequest& request) {
  LaneContents out;
  out.last = request.after;
  absl::StatusOr<DestinationRow> row = view.Destination(request.destination);
  if (!row.ok()) {
    out.status = row.status();
    return out;
  }
  out.row = *std::move(row);
  if (out.row.postponed_until > request.now) return out;
  Reading reading(view, request, &out);
  const size_t page =
      std::max(kPage, std::min(request.want + request.skip.size(), 4 * kPage));
  for (;;) {
    const std::vector<LanePosition> rows =
        view.Lane(request.destination, out.last, request.now, page);
    for (const LanePosition& position : rows) {
      if (!reading.Take(position)) return out;
      out.last = position;
    }
    if (rows.size() < page) {
      out.exhausted = true;
      out.next_due = NextDue(view, request.destination, request.now);
      return out;
    }
  }
}

}  // namespace holdfast
