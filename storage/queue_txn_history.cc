// What is kept of envelopes that have ended: written when they end, trimmed a
// slice at a time, never at the cost of mail.
#include <algorithm>

#include "storage/keys.h"
#include "storage/queue_txn.h"

namespace holdfast {
namespace {

constexpr uint64_t kPageBytes = 4096;
// What a row and its index row take besides the row's value: keys and LMDB's
// own octets.
constexpr size_t kRowBytes = 16 + 16 + 2 * 8;
// Most that one transaction deletes.
constexpr size_t kMostTrimBytes = 4 << 20;

}  // namespace

void QueueTxn::AddHistory(const Envelope& envelope, Ending ending) {
  if (!context_.history.write) return;
  const uint64_t serial = ++state_.serial;
  const Key key = HistoryKey(serial, envelope.id);
  const std::string row =
      SealHistory(key, HistoryRecord{context_.now, ending, envelope});
  txn_->Put(Table::kHistory, key, row);
  txn_->Put(Table::kHistoryIds, HistoryIdKey(envelope.id, serial), {});
  history_added_ += row.size() + kRowBytes;
}

bool QueueTxn::HistoryMustGo(absl::string_view key, absl::string_view row) {
  const HistoryPlan& plan = context_.history;
  if (plan.pressed || plan.age <= absl::ZeroDuration()) return true;
  if (txn_->Pages(Table::kHistory) + txn_->Pages(Table::kHistoryIds) >
      plan.pages)
    return true;
  const auto record = OpenHistory(key, row, /*head_only=*/true);
  // A damaged row must not keep those behind it.
  return !record.ok() || record->ended <= context_.now - plan.age;
}

bool QueueTxn::TrimHistory() {
  size_t budget = context_.history.trim_bytes + 2 * history_added_;
  if (context_.history.pressed) {
    // As much again as the mail of this transaction takes.
    budget += 2 * kPageBytes * taken_pages_;
  }
  budget = std::min<size_t>(budget, kMostTrimBytes);
  if (txn_->Rows(Table::kHistory) == 0) return false;
  size_t deleted = 0;
  LmdbCursor row(txn_, Table::kHistory);
  while (row.valid() && HistoryMustGo(row.key(), row.value())) {
    if (deleted >= budget) return true;
    deleted += row.raw_value().size() + kRowBytes;
    KeyReader key(row.key());
    const uint64_t serial = key.Get64();
    const EnvelopeId id{key.Get64()};
    row.DeleteAndNext();
    txn_->Delete(Table::kHistoryIds, HistoryIdKey(id, serial));
  }
  return false;
}

}  // namespace holdfast
