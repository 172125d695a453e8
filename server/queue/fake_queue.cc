#include "server/queue/fake_queue.h"

#include "storage/body_codec.h"

namespace holdfast {

class FakeQueueStore::FakeView : public QueueView {
 public:
  explicit FakeView(FakeQueueStore* store) : store_(*store) {}

  std::vector<std::pair<absl::Time, DestinationId>> Agenda(
      absl::Time, DestinationId, absl::Time, size_t) const override {
    return {};
  }
  absl::StatusOr<DestinationRow> Destination(DestinationId id) const override {
    for (const auto& [key, row] : store_.destinations)
      if (row.id == id && id != DestinationId{}) return row;
    return absl::NotFoundError("destination");
  }
  absl::StatusOr<DestinationRow> FindDestination(
      DeliveryKind kind, const std::string& action,
      const std::string& routing_key) const override {
    const auto found = store_.destinations.find(routing_key);
    if (found == store_.destinations.end() || found->second.kind != kind ||
        found->second.action != action)
      return absl::NotFoundError("destination");
    return found->second;
  }
  // All of one destination.
  std::vector<std::pair<DestinationId, EnvelopeId>> Held(
      DestinationId, EnvelopeId after, size_t limit) const override {
    std::vector<std::pair<DestinationId, EnvelopeId>> rows;
    for (auto it = store_.envelopes.upper_bound(after);
         it != store_.envelopes.end() && rows.size() < limit; ++it)
      if ((it->second.flags & (kFlagHeld | kFlagMoving)) != 0)
        rows.emplace_back(DestinationId{}, it->first);
    return rows;
  }
  absl::StatusOr<DestinationRow> DestinationOf(
      const Envelope& envelope) const override {
    const auto found = store_.destinations.find(envelope.routing_key);
    if (found == store_.destinations.end())
      return absl::NotFoundError("destination");
    return found->second;
  }
  // In order of time alone.
  std::vector<LanePosition> Lane(DestinationId id, LanePosition after,
                                 absl::Time until,
                                 size_t limit) const override {
    std::set<std::pair<absl::Time, EnvelopeId>> lane;
    for (const auto& [envelope, due] : store_.due) {
      const auto row = DestinationOf(store_.envelopes.at(envelope));
      if (row.ok() && row->id == id && due <= until)
        lane.emplace(due, envelope);
    }
    std::vector<LanePosition> rows;
    for (auto it = lane.upper_bound({after.due, after.envelope});
         it != lane.end() && rows.size() < limit; ++it)
      rows.push_back({0, it->first, it->second});
    return rows;
  }
  absl::StatusOr<Envelope> FindEnvelope(EnvelopeId id) const override {
    const auto found = store_.envelopes.find(id);
    if (found == store_.envelopes.end()) return absl::NotFoundError("envelope");
    return found->second;
  }
  absl::StatusOr<MessageRow> FindMessage(MessageId id) const override {
    const auto found = store_.messages.find(id);
    if (found == store_.messages.end()) return absl::NotFoundError("message");
    return found->second.row;
  }
  absl::StatusOr<std::vector<std::string>> BodyChunks(
      MessageId id, uint32_t first, uint32_t count) const override {
    const std::vector<std::string>& chunks = store_.messages.at(id).chunks;
    std::vector<std::string> out;
    for (uint32_t i = first; i < first + count && i < chunks.size(); ++i)
      out.push_back(chunks[i]);
    return out;
  }
  std::optional<absl::Time> DueOf(const Envelope& envelope) const override {
    const auto found = store_.due.find(envelope.id);
    if (found == store_.due.end()) return std::nullopt;
    return found->second;
  }
  bool IsClaimed(EnvelopeId id) const override {
    return store_.claimed.count(id) != 0;
  }
  std::vector<DeadlineRow> Deadlines(absl::Time, size_t) const override {
    return {};
  }
  std::optional<absl::Time> FirstDeadline() const override {
    return std::nullopt;
  }
  std::vector<PendingReport> Reports(ReportKey after,
                                     size_t limit) const override {
    std::vector<PendingReport> out;
    for (auto it = store_.reports.upper_bound({after.envelope, after.kind});
         it != store_.reports.end() && out.size() < limit; ++it)
      out.push_back(it->second);
    return out;
  }
  std::vector<ClaimRow> Claims() const override { return {}; }
  std::vector<DoubtRow> Doubts(size_t limit) const override {
    std::vector<DoubtRow> out = store_.doubts;
    if (out.size() > limit) out.resize(limit);
    return out;
  }
  std::vector<HistoryRow> History(EnvelopeId first, uint64_t after,
                                  EnvelopeId last,
                                  size_t limit) const override {
    std::vector<HistoryRow> out;
    for (const HistoryRow& row : store_.history)
      if (out.size() < limit && row.envelope.id <= last &&
          std::pair(row.envelope.id, row.serial) > std::pair(first, after))
        out.push_back(row);
    return out;
  }
  std::vector<Envelope> Envelopes(EnvelopeId after,
                                  size_t limit) const override {
    std::vector<Envelope> out;
    for (auto it = store_.envelopes.upper_bound(after);
         it != store_.envelopes.end() && out.size() < limit; ++it)
      out.push_back(it->second);
    return out;
  }
  std::vector<DestinationRow> Destinations(DestinationId after,
                                           size_t limit) const override {
    std::map<DestinationId, DestinationRow> rows;
    for (const auto& [key, row] : store_.destinations)
      if (row.id > after) rows.emplace(row.id, row);
    std::vector<DestinationRow> out;
    for (const auto& [id, row] : rows)
      if (out.size() < limit) out.push_back(row);
    return out;
  }
  Ledger ReadLedger() const override { return store_.ledger; }
  StoreStats Stats() const override {
    StoreStats stats;
    stats.messages = store_.messages.size();
    stats.envelopes = store_.envelopes.size();
    stats.reports = store_.reports.size();
    stats.accepting = store_.accepting;
    return stats;
  }

 private:
  FakeQueueStore& store_;
};

void FakeQueueStore::AddMessage(MessageId id, const std::string& raw) {
  BodyCompressor compressor;
  Message& message = messages[id];
  message.chunks = compressor.Write(raw);
  CompressedBody end = compressor.Finish();
  for (std::string& chunk : end.chunks)
    message.chunks.push_back(std::move(chunk));
  message.row.id = id;
  message.row.body = end.info;
}

void FakeQueueStore::AddReport(PendingReport report) {
  reports[{report.key.envelope, report.key.kind}] = std::move(report);
}

std::string FakeQueueStore::TextOf(MessageId id) const {
  const Message& message = messages.at(id);
  BodyDecompressor body(message.row.body);
  std::string out;
  for (size_t next = 0;;) {
    const auto state = body.Read(64 << 10, &out);
    if (!state.ok()) return std::string(state.status().message());
    if (*state == BodyDecompressor::kEnd) return out;
    if (*state == BodyDecompressor::kNeedsChunk)
      body.Feed(message.chunks.at(next++));
  }
}

OperationResult FakeQueueStore::Apply(QueueOperation& operation) {
  OperationResult result;
  if (auto* chunk = std::get_if<StoreChunk>(&operation)) {
    std::vector<std::string>& chunks = incoming[chunk->message];
    if (chunk->index != chunks.size()) {
      result.status = absl::InternalError("chunk out of order");
      return result;
    }
    uint64_t size = chunk->bytes.size();
    for (const std::string& c : chunks) size += c.size();
    if (size > room) result.status = absl::ResourceExhaustedError("no room");
    chunks.push_back(std::move(chunk->bytes));
  } else if (auto* accept = std::get_if<AcceptMessage>(&operation)) {
    result = Accept(*accept);
  } else if (auto* drop = std::get_if<DropIncoming>(&operation)) {
    incoming.erase(drop->message);
  } else if (auto* drop = std::get_if<DropReports>(&operation)) {
    for (const ReportKey& key : drop->reports)
      reports.erase({key.envelope, key.kind});
  } else if (auto* act = std::get_if<ActOnEnvelope>(&operation)) {
    result = Move(*act);
  } else {
    result.status = absl::UnimplementedError("not in the fake");
  }
  return result;
}

OperationResult FakeQueueStore::Move(const ActOnEnvelope& act) {
  OperationResult result;
  result.status = act_status;
  const auto found = envelopes.find(act.envelope);
  if (!result.status.ok()) return result;
  if (found == envelopes.end()) {
    result.status = absl::NotFoundError("no such envelope");
  } else if (act.act == ActOnEnvelope::Act::kMove) {
    found->second.flags |= kFlagMoving;
  } else if (act.act == ActOnEnvelope::Act::kMoveBack) {
    found->second.flags &= ~uint32_t{kFlagMoving};
  } else {
    result.status = absl::UnimplementedError("not in the fake");
  }
  return result;
}

OperationResult FakeQueueStore::Accept(AcceptMessage& accept) {
  OperationResult result;
  for (const ReportKey& key : accept.settles) {
    if (reports.count({key.envelope, key.kind}) == 0) {
      result.status = absl::FailedPreconditionError("settled already");
      return result;
    }
  }
  Message message;
  message.row.id = accept.message;
  message.row.body = accept.body;
  if (accept.stored.empty()) {
    message.chunks = incoming[accept.message];
  } else {
    message.chunks.push_back(accept.stored);
  }
  if (accept.body.stored_bytes > room) {
    result.status = absl::ResourceExhaustedError("no room");
    return result;
  }
  incoming.erase(accept.message);
  messages[accept.message] = std::move(message);
  for (const Envelope& e : accept.envelopes) envelopes[e.id] = e;
  for (const ReportKey& key : accept.settles)
    reports.erase({key.envelope, key.kind});
  accepted.push_back(accept);
  return result;
}

void FakeQueueStore::Submit(QueueBatch batch, Done done) {
  BatchResult result;
  size_t chunks = 0;
  for (QueueOperation& operation : batch) {
    if (std::holds_alternative<StoreChunk>(operation)) ++chunks;
    result.operations.push_back(Apply(operation));
  }
  max_chunks_in_batch = std::max(max_chunks_in_batch, chunks);
  done(std::move(result));
}

absl::StatusOr<std::unique_ptr<QueueView>> FakeQueueStore::View() {
  if (!read_status.ok()) return read_status;
  return std::make_unique<FakeView>(this);
}

void FakeQueueStore::ReadLater(
    absl::AnyInvocable<void(absl::StatusOr<const QueueView*>)> read) {
  ++reads;
  if (!read_status.ok()) return read(read_status);
  FakeView view(this);
  read(&view);
}

FakeQueueServices::FakeQueueServices() {
  config_.server_name = "mx.example.org";
  expand = [](const ExpandRequest& request) {
    ExpandAnswer answer;
    ExpandedRecipient recipient;
    recipient.action = "relay";
    recipient.dest = request.rcpt;
    recipient.routing_key = request.rcpt.domain;
    answer.recipients.push_back(recipient);
    return answer;
  };
}

FakeQueueServices::~FakeQueueServices() = default;

void FakeQueueServices::Commit(QueueBatch batch,
                               absl::AnyInvocable<void(BatchResult)> done) {
  store_.Submit(std::move(batch), [this, done = std::move(done)](
                                      BatchResult result) mutable {
    loop_.Post([done = std::move(done), result = std::move(result)]() mutable {
      done(std::move(result));
    });
  });
}

void FakeQueueServices::TakeMessageId(
    absl::AnyInvocable<void(MessageId)> done) {
  loop_.Post([done = std::move(done),
              id = MessageId(next_message_++)]() mutable { done(id); });
}

void FakeQueueServices::Expand(ExpandRequest request,
                               absl::AnyInvocable<void(ExpandAnswer)> done) {
  ExpandAnswer answer = expand(request);
  expanded.push_back(std::move(request));
  loop_.Post([done = std::move(done), answer = std::move(answer)]() mutable {
    done(std::move(answer));
  });
}

void FakeQueueServices::Explain(ExplainRequest request,
                                absl::AnyInvocable<void(ExplainAnswer)> done) {
  explained.push_back(std::move(request));
  loop()->Post([done = std::move(done), answer = explanation]() mutable {
    done(std::move(answer));
  });
}

void FakeQueueServices::UpdateTable(
    const std::string& name, absl::AnyInvocable<void(TableUpdated)> done) {
  updated_tables.push_back(name);
  loop()->Post([done = std::move(done), answer = table_updated]() mutable {
    done(std::move(answer));
  });
}

void FakeQueueServices::Act(OperatorAct act, std::vector<EnvelopeId> envelopes,
                            absl::AnyInvocable<void(uint64_t)> done) {
  uint64_t count = 0;
  for (const EnvelopeId id : envelopes) count += store_.envelopes.count(id);
  if (act == OperatorAct::kRemove)
    for (const EnvelopeId id : envelopes) store_.envelopes.erase(id);
  acts.emplace_back(act, std::move(envelopes));
  loop_.Post([done = std::move(done), count]() mutable { done(count); });
}

void FakeQueueServices::ActOnSlice(std::shared_ptr<const EnvelopeAct> act,
                                   const EnvelopeFilter& filter,
                                   std::vector<EnvelopeId> ids,
                                   absl::AnyInvocable<void(ActCounts)> done) {
  ActCounts counts;
  for (const EnvelopeId id : ids) {
    const auto e = store_.envelopes.find(id);
    EnvelopeFacts facts;
    if (e != store_.envelopes.end()) facts.envelope = e->second;
    if (e == store_.envelopes.end()) {
      ++counts.gone;
    } else if (!filter.Matches(facts)) {
      ++counts.changed;
    } else if (in_flight.count(id) > 0) {
      ++counts.waiting;
    } else {
      ++counts.done;
      if (act->kind == EnvelopeAct::Kind::kRemove) store_.envelopes.erase(e);
      if (act->kind == EnvelopeAct::Kind::kHold) e->second.flags |= kFlagHeld;
    }
  }
  slices.emplace_back(*act, std::move(ids));
  if (after_slice) loop_.Post(after_slice);
  loop_.Post([done = std::move(done), counts]() mutable { done(counts); });
}

std::optional<absl::Time> FakeQueueServices::InFlightSince(EnvelopeId id) {
  const auto found = in_flight.find(id);
  if (found == in_flight.end()) return std::nullopt;
  return found->second;
}

bool FakeQueueServices::SetPaused(DeliveryKind kind, bool paused) {
  return paused ? paused_.insert(kind).second : paused_.erase(kind) > 0;
}

bool FakeQueueServices::SetSmtpPaused(bool paused) {
  return std::exchange(smtp_paused_, paused) != paused;
}

}  // namespace holdfast
