// QueueView over a read transaction.
#ifndef HOLDFAST_STORAGE_QUEUE_VIEW_H_
#define HOLDFAST_STORAGE_QUEUE_VIEW_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "storage/commit_thread.h"
#include "storage/lmdb_env.h"
#include "storage/queue_store.h"
#include "storage/queue_txn.h"
#include "storage/records.h"

namespace holdfast {

// Where views come from; outlives them.
struct ViewSource {
  LmdbEnv* env = nullptr;
  ViewCount* views = nullptr;
  const WriterStatus* status = nullptr;
  uint64_t size_limit = 0;
  // Safe from any thread.
  std::function<void(const Damage&)> on_damage;
  uint64_t digest_seed = 0;  // of the keys of destination_ids
};

class LmdbQueueView : public QueueView {
 public:
  explicit LmdbQueueView(const ViewSource* source);
  ~LmdbQueueView() override;

  bool ok() const { return txn_.ok(); }
  const absl::Status& status() const { return txn_.status(); }
  // The writer needs the pages that this view keeps: end now.
  bool MustEnd() const override { return source_->views->epoch() != epoch_; }
  bool CanRead() const override { return txn_.ok(); }
  LmdbTxn* txn() const { return &txn_; }

  std::vector<std::pair<absl::Time, DestinationId>> Agenda(
      absl::Time after_due, DestinationId after, absl::Time until,
      size_t limit) const override;
  absl::StatusOr<DestinationRow> Destination(DestinationId id) const override;
  absl::StatusOr<DestinationRow> DestinationOf(
      const Envelope& envelope) const override;
  std::vector<LanePosition> Lane(DestinationId id, LanePosition after,
                                 absl::Time until, size_t limit) const override;
  absl::StatusOr<Envelope> FindEnvelope(EnvelopeId id) const override;
  absl::StatusOr<MessageRow> FindMessage(MessageId id) const override;
  absl::StatusOr<std::vector<std::string>> BodyChunks(
      MessageId id, uint32_t first, uint32_t count) const override;
  std::optional<absl::Time> DueOf(const Envelope& envelope) const override;
  bool IsClaimed(EnvelopeId id) const override;
  std::vector<DeadlineRow> Deadlines(absl::Time until,
                                     size_t limit) const override;
  std::optional<absl::Time> FirstDeadline() const override;
  std::vector<PendingReport> Reports(ReportKey after,
                                     size_t limit) const override;
  std::vector<ClaimRow> Claims() const override;
  std::vector<DoubtRow> Doubts(size_t limit) const override;
  std::vector<HistoryRow> History(EnvelopeId first, uint64_t after,
                                  EnvelopeId last, size_t limit) const override;
  std::vector<Envelope> Envelopes(EnvelopeId after,
                                  size_t limit) const override;
  std::vector<EnvelopeRow> EnvelopeRows(EnvelopeId after,
                                        size_t limit) const override;
  absl::StatusOr<EnvelopeRow> FindEnvelopeRow(EnvelopeId id) const override;
  std::vector<std::pair<DestinationId, EnvelopeId>> Held(
      DestinationId from, EnvelopeId after, size_t limit) const override;
  std::vector<DestinationRow> Destinations(DestinationId after,
                                           size_t limit) const override;
  absl::StatusOr<DestinationRow> FindDestination(
      DeliveryKind kind, const std::string& action,
      const std::string& routing_key) const override;
  Ledger ReadLedger() const override;
  StoreStats Stats() const override;
  StoreFigures Figures() const override;

 private:
  absl::StatusOr<EnvelopeRecord> LoadEnvelope(EnvelopeId id,
                                              bool head_only) const;
  EnvelopeRow ToEnvelopeRow(EnvelopeRecord record) const;
  absl::Status Missing(absl::string_view what) const;
  absl::Status Damaged(Damage damage, const absl::Status& why) const;

  const ViewSource* const source_;
  const uint64_t epoch_;
  mutable LmdbTxn txn_;
};

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_QUEUE_VIEW_H_
