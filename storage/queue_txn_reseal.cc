// Sealing anew with the key of now, a slice of rows at a time (FORMAT.md,
// "Sealing").
#include <algorithm>

#include "storage/keys.h"
#include "storage/queue_txn.h"
#include "storage/store_sealing.h"

namespace holdfast {
namespace {

// In the order in which they are gone through, which stands in records: those
// that are known to hold sealed rows (HoldsSealed()), for ever.
constexpr Table kSealedTables[] = {
    Table::kMessages, Table::kEnvelopes, Table::kDestinations, Table::kReports,
    Table::kAside,    Table::kDoubts,    Table::kHistory,      Table::kBodies};

// Rows that a slice looks at, most of which may be sealed already.
constexpr int kRowsOfSlice = 2000;

OperationResult Failed(absl::Status status) {
  OperationResult result;
  result.status = std::move(status);
  return result;
}

bool IsWhole(const SealingRecord& record) {
  return record.current != 0 && !record.plain && record.keys.size() == 1 &&
         record.keys[0].id == record.current;
}

}  // namespace

OperationResult QueueTxn::Do(const Reseal& op) {
  OperationResult result;
  const auto bytes = txn_->Get(Table::kMeta, kSealingKey);
  const ValueSealer* const sealer = txn_->sealer();
  if (!bytes.has_value() || sealer == nullptr) {
    result.reseal.finished = true;
    return result;
  }
  auto record = OpenRow<SealingRecord>(kSealingKey, *bytes);
  if (!record.ok()) return Failed(record.status());
  if (record->table >= std::size(kSealedTables))
    return Failed(absl::DataLossError("the record of its keys is not whole"));
  if (record->current != sealer->current())
    return Failed(absl::FailedPreconditionError("no key to seal with"));
  result.reseal.key = record->current;
  for (const Table table : kSealedTables)
    result.reseal.rows += txn_->Rows(table);
  if (IsWhole(*record)) {
    result.reseal.finished = true;
    return result;
  }
  // Not what acceptances are refused for, but as little to be taken.
  const auto pages = static_cast<int64_t>(DirtyPages(op));
  if (!context_.accepting || room_pages_ < pages)
    return Failed(absl::ResourceExhaustedError("no room in the queue"));
  room_pages_ -= pages;
  report_room_pages_ -= pages;
  taken_pages_ += static_cast<uint64_t>(pages);
  ResealSlice(op.bytes, &*record, &result.reseal);
  if (record->table == std::size(kSealedTables)) {
    result.reseal.finished = true;
    FinishResealing(&*record);
  } else {
    txn_->Put(Table::kMeta, kSealingKey, SealRow(kSealingKey, *record));
  }
  return result;
}

void QueueTxn::ResealSlice(size_t bytes, SealingRecord* record,
                           ResealProgress* progress) {
  const KeyId current = record->current;
  std::vector<std::pair<std::string, std::string>> rows;
  size_t taken = 0;
  const Table table = kSealedTables[record->table];
  {
    LmdbCursor row(txn_, table, record->after);
    if (row.valid() && row.key() == record->after) row.Next();
    for (int seen = 0; row.valid() && seen < kRowsOfSlice && taken < bytes;
         row.Next(), ++seen) {
      record->after = std::string(row.key());
      ++progress->looked;
      const absl::string_view raw = row.raw_value();
      if (IsSealed(raw) ? KeyIdOf(raw) == current : current == 0) continue;
      // What no key opens is damaged, and stays what it is.
      if (row.value().empty() || IsSealed(row.value())) {
        ++progress->damaged;
        continue;
      }
      taken += raw.size();
      rows.emplace_back(row.key(), row.value());
    }
    if (!row.valid()) {
      ++record->table;
      record->after.clear();
    }
  }
  progress->resealed += rows.size();
  for (const auto& [key, value] : rows) txn_->Put(table, key, value);
}

// All that was there before the key of now has been seen; what has come since
// is sealed with it.
void QueueTxn::FinishResealing(SealingRecord* record) {
  record->table = 0;
  record->after.clear();
  record->plain = false;
  if (record->current != 0) {
    record->keys = {{record->current, ""}};
    ProveSealing(*txn_->sealer(), record);
    txn_->Put(Table::kMeta, kSealingKey, SealRow(kSealingKey, *record));
    return;
  }
  // Nothing is sealed any more.
  txn_->Delete(Table::kMeta, kSealingKey);
  const auto bytes = txn_->Get(Table::kMeta, kSchemaKey);
  auto schema = bytes.has_value() ? OpenRow<SchemaRecord>(kSchemaKey, *bytes)
                                  : absl::DataLossError("no such record");
  if (!schema.ok()) return;
  schema->schema = SchemaRecord::kCurrentSchema;
  txn_->Put(Table::kMeta, kSchemaKey, SealRow(kSchemaKey, *schema));
}

}  // namespace holdfast
