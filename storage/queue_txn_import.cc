// Mail that comes from an export: taken once, whatever is repeated.
#include "absl/strings/str_cat.h"
#include "storage/keys.h"
#include "storage/queue_txn.h"

namespace holdfast {
namespace {

uint32_t RecipientOf(EnvelopeId id) {
  return static_cast<uint32_t>(static_cast<uint64_t>(id));
}

OperationResult ResultOf(absl::Status status) {
  OperationResult result;
  result.status = std::move(status);
  return result;
}

}  // namespace

// Ids between what the counter was when the store was opened and what it is
// now are somebody's, used or not.
bool QueueTxn::MayBeLeased(MessageId id) const {
  const uint32_t n = static_cast<uint32_t>(id);
  return n - context_.first_lease < state_.next_message - context_.first_lease;
}

// Whether this envelope is in the queue and is what came from there.
bool QueueTxn::IsHere(const ImportOrigin& origin, EnvelopeId id) {
  if (!txn_->Has(Table::kEnvelopes, EnvelopeKey(id))) return false;
  const MessageRecord& message = LoadMessage(MessageOf(id))->record;
  return origin.store == context_.store
             ? message.origin_store == 0 && message.serial == origin.serial
             : message.origin_store == origin.store &&
                   message.origin_serial == origin.serial;
}

// Whether this envelope is to be taken; kFailedPrecondition.
absl::StatusOr<bool> QueueTxn::IsFresh(const ImportOrigin& origin,
                                       EnvelopeId id) {
  const uint32_t recipient = RecipientOf(id);
  const Key key = ImportKey(origin.store, origin.serial, recipient);
  if (const auto bytes = txn_->Get(Table::kImports, key)) {
    if (!origin.again) return false;
    const auto row = OpenRow<ImportRecord>(key, *bytes);
    if (!row.ok()) return row.status();
    if (IsHere(origin, row->envelope)) return false;
  }
  if (origin.store != context_.store) return true;
  // This very store accepted it.
  if (IsHere(origin, MakeEnvelopeId(origin.message, recipient))) return false;
  if (origin.again) return true;
  return absl::FailedPreconditionError(
      "this store accepted it itself and has it no more");
}

// Which envelopes are to be taken.
absl::Status QueueTxn::CheckImport(const AcceptMessage& op,
                                   std::vector<size_t>* fresh) {
  const ImportOrigin& origin = *op.origin;
  if (!context_.keep_attempts)
    return absl::UnavailableError(
        "the store could not be upgraded yet: nothing can be imported");
  if (origin.store == 0 || origin.serial == 0 || !op.settles.empty() ||
      op.message == MessageId{0})
    return absl::InvalidArgumentError("an import without its origin");
  for (size_t i = 0; i < op.envelopes.size(); ++i) {
    const absl::StatusOr<bool> take = IsFresh(origin, op.envelopes[i].id);
    if (!take.ok()) return take.status();
    if (*take) fresh->push_back(i);
  }
  // Without its body here it came in chunks, whose row keeps the id since.
  if (!fresh->empty() && origin.keep_id && CarriesBody(op) &&
      MayBeLeased(op.message))
    return absl::AlreadyExistsError(
        absl::StrCat("message ", ToString(op.message), " may be in use"));
  return absl::OkStatus();
}

OperationResult QueueTxn::DoImport(const AcceptMessage& op) {
  std::vector<size_t> fresh;
  absl::Status status = CheckImport(op, &fresh);
  if (!status.ok()) return ResultOf(std::move(status));
  if (fresh.empty()) {
    if (op.stored.empty() &&
        txn_->Delete(Table::kIncoming, MessageKey(op.message)))
      txn_->Put(Table::kGarbage, MessageKey(op.message), {});
    return {};
  }
  AcceptMessage taken = op;
  taken.envelopes.clear();
  taken.dues.clear();
  taken.first_deadlines.clear();
  for (const size_t i : fresh) {
    taken.envelopes.push_back(op.envelopes[i]);
    if (!op.dues.empty()) taken.dues.push_back(op.dues[i]);
    // `queue` looks at it at once and finds what is next.
    taken.first_deadlines.push_back(context_.now);
  }
  OperationResult result = Accept(taken);
  if (!result.status.ok()) return result;
  MessageRecord& message = messages_[op.message].record;
  if (op.origin->store != context_.store) {
    message.origin_store = op.origin->store;
    message.origin_serial = op.origin->serial;
  } else {
    message.serial = op.origin->serial;
  }
  for (const Envelope& e : taken.envelopes) {
    const Key key =
        ImportKey(op.origin->store, op.origin->serial, RecipientOf(e.id));
    txn_->Put(Table::kImports, key,
              SealRow(key, ImportRecord{context_.now, e.id}));
  }
  result.envelopes = std::move(taken.envelopes);
  return result;
}

}  // namespace holdfast
