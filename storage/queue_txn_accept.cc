// What comes in: messages, chunks of bodies, leases of ids.
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/body_codec.h"
#include "storage/keys.h"
#include "storage/queue_txn.h"

namespace holdfast {
namespace {

// A lease of any size finds its place after so many ids in use, or not at all.
constexpr int kMaxLeaseTries = 10'000;

OperationResult ResultOf(absl::Status status) {
  OperationResult result;
  result.status = std::move(status);
  return result;
}

uint64_t PiecesOf(size_t bytes) { return bytes / kPieceBytes + 1; }

absl::Status CheckForm(const AcceptMessage& op) {
  if (op.message == MessageId{0} || op.envelopes.empty())
    return absl::InvalidArgumentError("message without id or envelopes");
  if (!op.first_deadlines.empty() &&
      op.first_deadlines.size() != op.envelopes.size())
    return absl::InvalidArgumentError("deadlines do not match envelopes");
  if (!op.dues.empty() && op.dues.size() != op.envelopes.size())
    return absl::InvalidArgumentError("due times do not match envelopes");
  if (op.body.chunks == 0 || op.stored.size() > kMaxChunkBytes)
    return absl::InvalidArgumentError("body of an impossible size");
  std::vector<EnvelopeId> ids;
  ids.reserve(op.envelopes.size());
  for (const Envelope& envelope : op.envelopes) {
    if (MessageOf(envelope.id) != op.message)
      return absl::InvalidArgumentError(
          absl::StrCat("envelope id ", ToString(envelope.id)));
    ids.push_back(envelope.id);
  }
  std::sort(ids.begin(), ids.end());
  if (std::adjacent_find(ids.begin(), ids.end()) != ids.end())
    return absl::InvalidArgumentError("an envelope id comes twice");
  return absl::OkStatus();
}

}  // namespace

bool CarriesBody(const AcceptMessage& op) {
  return !op.stored.empty() || op.body.stored_bytes == 0;
}

absl::Status QueueTxn::TakeRoom(uint64_t pages, bool report) {
  int64_t* const room = report ? &report_room_pages_ : &room_pages_;
  if (!context_.accepting || *room < static_cast<int64_t>(pages)) {
    refused_ = true;
    return absl::ResourceExhaustedError("no room in the queue");
  }
  taken_pages_ += pages;
  room_pages_ -= static_cast<int64_t>(pages);
  report_room_pages_ -= static_cast<int64_t>(pages);
  return absl::OkStatus();
}

bool QueueTxn::IdInUse(MessageId id) {
  const Key key = MessageKey(id);
  return txn_->Has(Table::kMessages, key) || txn_->Has(Table::kGarbage, key) ||
         txn_->Has(Table::kIncoming, key) ||
         // Mostly empty, and a cursor costs more than a count.
         (txn_->Rows(Table::kReports) > 0 && HasPrefix(Table::kReports, key)) ||
         (txn_->Rows(Table::kAside) > 0 && HasPrefix(Table::kAside, key));
}

absl::Status QueueTxn::CheckIncoming(const AcceptMessage& op) {
  const Key key = MessageKey(op.message);
  const auto bytes = txn_->Get(Table::kIncoming, key);
  if (!bytes.has_value())
    return absl::FailedPreconditionError("no chunks of this body");
  const auto row = OpenRow<IncomingRecord>(key, *bytes);
  if (!row.ok()) return row.status();
  if (row->chunks != op.body.chunks ||
      row->stored_bytes != op.body.stored_bytes)
    return absl::FailedPreconditionError("chunks are missing");
  return absl::OkStatus();
}

absl::Status QueueTxn::CheckAccept(const AcceptMessage& op) {
  absl::Status status = CheckForm(op);
  if (!status.ok()) return status;
  // Between the lease of an id and its use nothing else takes it.
  if (messages_.contains(op.message) ||
      txn_->Has(Table::kMessages, MessageKey(op.message)))
    return absl::AlreadyExistsError(
        absl::StrCat("message ", ToString(op.message), " is in the queue"));
  if (CarriesBody(op)) {
    if (op.body.chunks != 1 || op.body.stored_bytes != op.stored.size())
      return absl::InvalidArgumentError("body is not as declared");
    if (IdInUse(op.message))
      return absl::AlreadyExistsError(
          absl::StrCat("message ", ToString(op.message), " is in use"));
  } else {
    status = CheckIncoming(op);
    if (!status.ok()) return status;
  }
  for (const ReportKey& report : op.settles) {
    if (!txn_->Has(
            Table::kReports,
            ReportRowKey(report.envelope, static_cast<uint8_t>(report.kind))))
      return absl::FailedPreconditionError("report was made already");
  }
  const uint64_t pages =
      PiecesOf(op.stored.size()) + 1 + op.envelopes.size() / 4;
  return TakeRoom(pages, !op.settles.empty());
}

void QueueTxn::PutChunk(MessageId id, uint32_t chunk, absl::string_view bytes) {
  uint16_t piece = 0;
  do {
    const absl::string_view part = bytes.substr(0, kPieceBytes);
    bytes.remove_prefix(part.size());
    const Key key = BodyKey(id, chunk, piece++);
    txn_->Put(Table::kBodies, key, SealRecord(Table::kBodies, key, 1, part));
  } while (!bytes.empty());
}

OperationResult QueueTxn::Do(const AcceptMessage& op) {
  return op.origin.has_value() ? DoImport(op) : Accept(op);
}

OperationResult QueueTxn::Accept(const AcceptMessage& op) {
  absl::Status status = CheckAccept(op);
  if (!status.ok()) return ResultOf(std::move(status));
  if (CarriesBody(op)) {
    PutChunk(op.message, 0, op.stored);
  } else {
    txn_->Delete(Table::kIncoming, MessageKey(op.message));
  }
  MessageRecord& message = messages_[op.message].record;
  message.serial = ++state_.serial;
  message.body = op.body;
  message.live = static_cast<uint32_t>(op.envelopes.size());
  message.created = op.created;
  state_.accepted += op.envelopes.size();
  state_.queued += op.envelopes.size();

  EnvelopeRecord record;
  for (size_t i = 0; i < op.envelopes.size(); ++i) {
    record.envelope = op.envelopes[i];
    record.flags = record.envelope.flags;
    record.due = op.dues.empty() ? record.envelope.Released() : op.dues[i];
    record.deadline = op.first_deadlines.empty() ? record.envelope.expires
                                                 : op.first_deadlines[i];
    record.destination = FindDestination(record.envelope);
    AddEnvelope(record);
  }
  for (const ReportKey& report : op.settles) {
    if (txn_->Delete(
            Table::kReports,
            ReportRowKey(report.envelope, static_cast<uint8_t>(report.kind))))
      AddLive(MessageOf(report.envelope), -1);
  }
  return {};
}

OperationResult QueueTxn::Do(const StoreChunk& op) {
  if (op.message == MessageId{0} || op.bytes.empty() ||
      op.bytes.size() > kMaxChunkBytes)
    return ResultOf(absl::InvalidArgumentError("chunk of an impossible size"));
  const Key key = MessageKey(op.message);
  IncomingRecord row;
  if (op.index == 0) {
    // A body in progress, which may be what an earlier start has left, is never
    // begun again: whoever sends it takes another id.
    if (messages_.contains(op.message) || IdInUse(op.message) ||
        (op.keep_id && MayBeLeased(op.message)))
      return ResultOf(absl::AlreadyExistsError(
          absl::StrCat("message ", ToString(op.message), " is in use")));
    row.start = context_.start;
    row.session = op.session;
  } else if (const auto bytes = txn_->Get(Table::kIncoming, key)) {
    auto opened = OpenRow<IncomingRecord>(key, *bytes);
    if (!opened.ok()) return ResultOf(opened.status());
    row = *opened;
  } else {
    return ResultOf(absl::FailedPreconditionError("no body in progress"));
  }
  if (op.index != row.chunks)
    return ResultOf(absl::FailedPreconditionError("chunk out of order"));
  absl::Status status = TakeRoom(PiecesOf(op.bytes.size()) + 1, false);
  if (!status.ok()) return ResultOf(std::move(status));
  PutChunk(op.message, op.index, op.bytes);
  ++row.chunks;
  row.stored_bytes += op.bytes.size();
  txn_->Put(Table::kIncoming, key, SealRow(key, row));
  return {};
}

OperationResult QueueTxn::Do(const DropIncoming& op) {
  const Key key = MessageKey(op.message);
  if (!txn_->Delete(Table::kIncoming, key))
    return ResultOf(absl::NotFoundError("no body in progress"));
  txn_->Put(Table::kGarbage, key, {});
  return {};
}

std::optional<MessageId> QueueTxn::FirstUsedId(MessageId from) {
  std::optional<MessageId> first;
  for (const Table table : {Table::kMessages, Table::kGarbage, Table::kReports,
                            Table::kIncoming, Table::kAside}) {
    LmdbCursor row(txn_, table, MessageKey(from));
    if (!row.valid()) continue;
    // All of these begin with the message's id.
    const MessageId id{KeyReader(row.key().substr(0, 4)).Get32()};
    if (!first.has_value() || id < *first) first = id;
  }
  for (const auto& [id, entry] : messages_) {
    if (id >= from && (!first.has_value() || id < *first)) first = id;
  }
  return first;
}

OperationResult QueueTxn::Do(const LeaseIds& op) {
  if (op.count == 0)
    return ResultOf(absl::InvalidArgumentError("lease of nothing"));
  uint64_t first = state_.next_message;
  for (int tries = 0; tries < kMaxLeaseTries; ++tries) {
    if (first == 0 || first + op.count > uint64_t{1} << 32) first = 1;
    const auto used = FirstUsedId(MessageId{static_cast<uint32_t>(first)});
    if (!used.has_value() || static_cast<uint32_t>(*used) >= first + op.count) {
      state_.next_message = static_cast<uint32_t>(first + op.count);
      OperationResult result;
      result.first_id = MessageId{static_cast<uint32_t>(first)};
      return result;
    }
    first = uint64_t{static_cast<uint32_t>(*used)} + 1;
  }
  return ResultOf(absl::ResourceExhaustedError("no free message ids"));
}

}  // namespace holdfast
