#include "storage/queue_store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/notification.h"
#include "storage/idle_priority.h"
#include "storage/keys.h"
#include "storage/queue_store_impl.h"
#include "storage/records.h"
#include "storage/repair_queue.h"
#include "storage/store_file.h"
#include "storage/store_sealing.h"

namespace holdfast {
namespace {

constexpr char kFileName[] = "queue.mdb";
constexpr char kLockName[] = "owner.lock";
// Destinations looked at in one go while they are counted.
constexpr size_t kBacklogPage = 256;

}  // namespace

// ---- ReaderThread

ReaderThread::ReaderThread(Priority priority)
    : thread_([this, priority] { Run(priority); }) {}

ReaderThread::~ReaderThread() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  thread_.join();
}

void ReaderThread::Post(absl::AnyInvocable<void()> work) {
  absl::MutexLock lock(&mutex_);
  work_.push_back(std::move(work));
}

void ReaderThread::Run(Priority priority) {
  if (priority == Priority::kIdle) RunAtIdlePriority();
  const auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return stop_ || !work_.empty();
  };
  for (;;) {
    absl::AnyInvocable<void()> work;
    {
      absl::MutexLock lock(&mutex_, absl::Condition(&ready));
      if (work_.empty()) return;
      work = std::move(work_.front());
      work_.pop_front();
    }
    work();
  }
}

// ---- Opening

absl::StatusOr<std::unique_ptr<QueueStore>> QueueStore::Open(
    StoreOptions options) {
  return LmdbQueueStore::Open(std::move(options));
}

LmdbQueueStore::LmdbQueueStore(StoreOptions options)
    : options_(std::move(options)) {}

absl::StatusOr<std::unique_ptr<QueueStore>> LmdbQueueStore::Open(
    StoreOptions options) {
  std::unique_ptr<LmdbQueueStore> store(new LmdbQueueStore(std::move(options)));
  absl::Status status = store->Start();
  if (!status.ok()) return status;
  return std::unique_ptr<QueueStore>(std::move(store));
}

absl::Status LmdbQueueStore::Start() {
  const std::string& folder = options_.path;
  absl::Status status;
  if (!options_.read_only) status = MakeStoreFolder(folder);
  if (!status.ok()) return status;
  auto lock = OwnerLock::Take(absl::StrCat(folder, "/", kLockName),
                              !options_.read_only);
  if (!lock.ok()) return lock.status();
  lock_ = *std::move(lock);
  const bool was_clean = lock_->was_clean();

  const std::string path = absl::StrCat(folder, "/", kFileName);
  if (access(path.c_str(), F_OK) != 0) {
    if (options_.read_only)
      return absl::NotFoundError(absl::StrCat(path, ": no queue"));
    absl::BitGen random;
    status = MakeStoreFile(folder, kFileName, absl::Uniform<uint64_t>(random),
                           absl::Uniform<uint32_t>(random),
                           std::max<uint64_t>(options_.size_limit, 4 << 20));
  } else if (!options_.read_only && !lock_->was_clean()) {
    status = DistrustPageCache(path);
  }
  if (!status.ok()) return status;
  status = OpenEnv(path);
  if (status.ok()) status = ReadSchema();
  if (status.ok()) status = UseKeys();
  if (!status.ok()) {
    // As it was found.
    if (!options_.read_only && was_clean) lock_->MarkClean();
    return status;
  }
  if (!options_.read_only) status = UpgradeSchema();
  if (status.ok()) status = NoteKeys();
  if (status.ok()) status = ReadState();
  if (status.ok() && options_.on_repair && !options_.read_only)
    status = RepairQueue(
        env_.get(), folder, digest_seed_, options_.clock(), &state_,
        [this](absl::string_view line) { options_.on_repair(line); });
  if (status.ok() && !options_.read_only) status = CountStart();
  if (!status.ok()) return status;
  StartThreads();
  return status;
}

absl::Status LmdbQueueStore::OpenEnv(const std::string& path) {
  LmdbOptions options;
  options.path = path;
  options.map_bytes = options_.size_limit;
  options.read_only = options_.read_only;
  auto env = LmdbEnv::Open(options);
  if (!env.ok()) return env.status();
  env_ = *std::move(env);
  // `queue size` never cuts off what is in use and the reserve.
  const LmdbSpace space = env_->Space();
  const uint64_t least =
      (space.last_page + 1) * space.page_bytes + options_.reserve_bytes;
  if (space.page_bytes != 4096)
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": made with pages of ", space.page_bytes));
  if (space.map_pages * space.page_bytes < least)
    return env_->SetMapBytes(least);
  return absl::OkStatus();
}

absl::Status LmdbQueueStore::ReadSchema() {
  LmdbTxn txn(env_.get(), LmdbTxn::kRead);
  const auto bytes = txn.Get(Table::kMeta, kSchemaKey);
  if (!txn.ok()) return txn.status();
  if (!bytes.has_value()) return absl::DataLossError("queue: no schema record");
  const auto schema = OpenRow<SchemaRecord>(kSchemaKey, *bytes);
  if (!schema.ok())
    return absl::DataLossError(absl::StrCat(
        "queue: schema record: ", std::string(schema.status().message())));
  if (schema->schema == 0 || schema->schema > SchemaRecord::kSealedSchema)
    return absl::FailedPreconditionError(
        absl::StrCat("queue: made by another version (schema ", schema->schema,
                     ", this one knows ", SchemaRecord::kSealedSchema, ")"));
  schema_ = *schema;
  uuid_ = absl::StrFormat("%016x", schema->uuid);
  digest_seed_ = schema->uuid;
  // One look at the root of every table before anything is promised.
  for (int i = 0; i < kTableCount; ++i) LmdbCursor root(&txn, Table(i));
  return txn.status();
}

// From schema 1, which has no table of history and no attempts in records; an
// older program refuses what this leaves.
absl::Status LmdbQueueStore::UpgradeSchema() {
  if (schema_.schema >= SchemaRecord::kCurrentSchema &&
      env_->HasTable(Table::kImports))
    return absl::OkStatus();
  SchemaRecord newer = schema_;
  newer.schema = std::max(schema_.schema, SchemaRecord::kCurrentSchema);
  LmdbTxn txn(env_.get(), LmdbTxn::kWrite);
  for (int i = kFirstLaterTable; i < kTableCount; ++i) {
    if (!env_->HasTable(Table(i))) txn.MakeTable(Table(i));
  }
  txn.Put(Table::kMeta, kSchemaKey, SealRow(kSchemaKey, newer));
  const absl::Status status = txn.Commit();
  if (absl::IsResourceExhausted(status)) {
    // A full disk must not keep the mail that is here from going out.
    Warn("warn: queue: no room to upgrade the store: attempts are not kept");
    return absl::OkStatus();
  }
  if (status.ok()) schema_ = newer;
  return status;
}

// What the keys open; nothing is written.
absl::Status LmdbQueueStore::UseKeys() {
  SealedState state;
  {
    LmdbTxn txn(env_.get(), LmdbTxn::kRead);
    if (const auto bytes = txn.Get(Table::kMeta, kSealingKey)) {
      const auto record = OpenRow<SealingRecord>(kSealingKey, *bytes);
      if (!record.ok())
        return absl::DataLossError(
            absl::StrCat("queue: the record of its keys: ",
                         std::string(record.status().message())));
      state.record = *record;
    } else if (schema_.schema >= SchemaRecord::kSealedSchema) {
      return absl::DataLossError("queue: the record of its keys is missing");
    }
    state.empty = true;
    for (int i = 0; i < kTableCount; ++i) {
      if (HoldsSealed(Table(i)) && txn.Rows(Table(i)) > 0) state.empty = false;
    }
    if (!txn.ok()) return txn.status();
  }
  auto sealing = OpenSealing(state, options_.keys, options_.read_only);
  WipeKeys(&options_.keys);
  if (!sealing.ok()) return sealing.status();
  env_->UseSealer(std::move(sealing->sealer));
  new_keys_ = std::move(sealing->record);
  return absl::OkStatus();
}

// Before the first row is sealed otherwise than before.
absl::Status LmdbQueueStore::NoteKeys() {
  if (!new_keys_.has_value()) return absl::OkStatus();
  SchemaRecord sealed = schema_;
  sealed.schema = SchemaRecord::kSealedSchema;
  LmdbTxn txn(env_.get(), LmdbTxn::kWrite);
  txn.Put(Table::kMeta, kSealingKey, SealRow(kSealingKey, *new_keys_));
  txn.Put(Table::kMeta, kSchemaKey, SealRow(kSchemaKey, sealed));
  const absl::Status status = txn.Commit();
  if (absl::IsResourceExhausted(status))
    return absl::ResourceExhaustedError(
        "queue: no room to note with which key it is sealed from now on");
  if (status.ok()) schema_ = sealed;
  return status;
}

absl::Status LmdbQueueStore::ReadState() {
  LmdbTxn txn(env_.get(), LmdbTxn::kRead);
  const auto bytes = txn.Get(Table::kMeta, kStateKey);
  if (!txn.ok()) return txn.status();
  const auto state = bytes.has_value() ? OpenRow<StateRecord>(kStateKey, *bytes)
                                       : absl::DataLossError("no such record");
  if (!state.ok()) return RecoverState(state.status().message());
  state_ = *state;
  return absl::OkStatus();
}

// The counters are lost: mail is not.  The ledger begins anew with what is
// queued, ids and serials where none can be in use.
absl::Status LmdbQueueStore::RecoverState(absl::string_view why) {
  Warn(absl::StrCat("warn: queue: counters: ", std::string(why),
                    "; the ledger starts anew"));
  LmdbTxn txn(env_.get(), LmdbTxn::kRead);
  absl::BitGen random;
  state_ = StateRecord();
  state_.queued = txn.Rows(Table::kEnvelopes);
  for (LmdbCursor row(&txn, Table::kAside); row.valid(); row.Next())
    state_.queued += row.key().back() == 0;
  state_.accepted = state_.queued;
  state_.next_message = std::max<uint32_t>(absl::Uniform<uint32_t>(random), 1);
  const auto after_last = [&](Table table) -> uint64_t {
    LmdbCursor row(&txn, table);
    row.SeekLast();
    if (!row.valid()) return 1;
    KeyReader key(row.key());
    return 1 + (row.key().size() == 4 ? key.Get32() : key.Get64());
  };
  state_.next_destination =
      static_cast<uint32_t>(after_last(Table::kDestinations));
  state_.doubt_serial = after_last(Table::kDoubts);
  // Above any that was given: nobody starts or accepts once a microsecond.
  state_.serial = state_.start =
      static_cast<uint64_t>(absl::ToUnixMicros(options_.clock()));
  return txn.status();
}

absl::Status LmdbQueueStore::CountStart() {
  ++state_.start;
  LmdbTxn txn(env_.get(), LmdbTxn::kWrite);
  txn.Put(Table::kMeta, kStateKey, SealRow(kStateKey, state_));
  absl::Status status = txn.Commit();
  if (!absl::IsResourceExhausted(status)) return status;
  // A full disk must not keep the mail that is here from going out.
  Warn("warn: queue: no room to count this start");
  return absl::OkStatus();
}

void LmdbQueueStore::StartThreads() {
  source_ = {env_.get(),
             &views_,
             &status_,
             options_.size_limit,
             [this](const Damage& damage) { OnDamage(damage); },
             digest_seed_};
  using Priority = ReaderThread::Priority;
  reader_ = std::make_unique<ReaderThread>(Priority::kUsual);
  idle_reader_ = std::make_unique<ReaderThread>(Priority::kIdle);
  if (options_.read_only) {
    status_.accepting = false;
    return;
  }
  CommitThreadOptions options;
  {
    LmdbQueueView view(&source_);
    for (const ClaimRow& claim : view.Claims())
      options.claimed.insert(options.claimed.end(), claim.envelopes.begin(),
                             claim.envelopes.end());
  }
  options.env = env_.get();
  options.views = &views_;
  options.status = &status_;
  options.state = state_;
  options.digest_seed = digest_seed_;
  options.reserve_bytes = options_.reserve_bytes;
  options.min_free = options_.min_free;
  options.history_age = options_.history_age;
  options.history_bytes = options_.history_bytes;
  options.keep_attempts = schema_.schema >= SchemaRecord::kCurrentSchema &&
                          env_->HasTable(Table::kImports);
  options.store = schema_.uuid;
  options.on_warning = [this](absl::string_view text) { Warn(text); };
  options.on_damage = [this](const Damage& damage) { OnDamage(damage); };
  options.on_sync_failed = [this] { sync_failed_ = true; };
  options.clock = [this] { return options_.clock(); };
  commit_ = std::make_unique<CommitThread>(std::move(options));
}

LmdbQueueStore::~LmdbQueueStore() {
  ending_ = true;
  {
    absl::MutexLock lock(&damage_mutex_);
    closing_ = true;
  }
  // The reader may submit; what it submits is committed.
  // It may give the other one work: damage.
  idle_reader_.reset();
  reader_.reset();
  const bool wrote = commit_ != nullptr;
  commit_.reset();
  env_.reset();
  if (wrote && !sync_failed_) lock_->MarkClean();
}

// ---- Use

void LmdbQueueStore::Submit(QueueBatch batch, Done done) {
  if (commit_ == nullptr) {
    BatchResult result;
    result.operations.resize(batch.size());
    for (OperationResult& operation : result.operations)
      operation.status =
          absl::FailedPreconditionError("queue: opened for reading only");
    if (done) done(std::move(result));
    return;
  }
  commit_->Submit({std::move(batch), std::move(done), std::nullopt});
}

absl::StatusOr<std::unique_ptr<LmdbQueueView>> LmdbQueueStore::RawView() {
  auto view = std::make_unique<LmdbQueueView>(&source_);
  if (!view->ok()) return view->status();
  return view;
}

absl::StatusOr<std::unique_ptr<QueueView>> LmdbQueueStore::View() {
  auto view = RawView();
  if (!view.ok()) return view.status();
  return std::unique_ptr<QueueView>(*std::move(view));
}

void LmdbQueueStore::ReadLater(
    absl::AnyInvocable<void(absl::StatusOr<const QueueView*>)> read) {
  ReadOn(reader_.get(), std::move(read));
}

void LmdbQueueStore::ReadIdly(
    absl::AnyInvocable<void(absl::StatusOr<const QueueView*>)> read) {
  ReadOn(idle_reader_.get(), std::move(read));
}

void LmdbQueueStore::ReadOn(
    ReaderThread* thread,
    absl::AnyInvocable<void(absl::StatusOr<const QueueView*>)> read) {
  thread->Post([this, read = std::move(read)]() mutable {
    LmdbQueueView view(&source_);
    if (view.ok()) {
      read(&view);
    } else {
      read(view.status());
    }
  });
}

// ---- Backlogs

std::vector<DestinationBacklog> LmdbQueueStore::LargestBacklogs(size_t limit) {
  if (!backlogs_asked_.exchange(true)) CountBacklogs(DestinationId{});
  return status_.meter.Largest(limit);
}

// A page of all destinations, then the next one behind whatever else the reader
// thread has been asked for.
void LmdbQueueStore::CountBacklogs(DestinationId after) {
  ReadLater([this, after](absl::StatusOr<const QueueView*> view) {
    if (!view.ok() || ending_) return;
    DestinationId last = after;
    for (const DestinationRow& row :
         (*view)->Destinations(after, kBacklogPage)) {
      status_.meter.OfferBacklog({row.id, row.envelopes});
      last = row.id;
    }
    if (last != after) CountBacklogs(last);
  });
}

class LmdbQueueStore::Pin : public BodyPin {
 public:
  explicit Pin(PinCount* pins) : pins_(pins), epoch_(pins->Enter()) {}
  ~Pin() override { pins_->Leave(epoch_); }
  bool holds() const override { return pins_->Holds(epoch_); }

 private:
  PinCount* const pins_;
  const uint64_t epoch_;
};

absl::StatusOr<std::unique_ptr<BodyPin>> LmdbQueueStore::PinBodies() {
  auto pin = std::make_unique<Pin>(&status_.pins);
  // A transaction that began before may not know of it: it must be over, and
  // one that is empty stands behind it.
  if (commit_ != nullptr) {
    absl::Notification committed;
    commit_->Submit({{}, [&](BatchResult) { committed.Notify(); }, {}});
    committed.WaitForNotification();
  }
  return std::unique_ptr<BodyPin>(std::move(pin));
}

// Of a view that keeps no such rows: out of what it has.
absl::StatusOr<EnvelopeRow> QueueView::FindEnvelopeRow(EnvelopeId id) const {
  absl::StatusOr<Envelope> envelope = FindEnvelope(id);
  if (!envelope.ok()) return envelope.status();
  EnvelopeRow row;
  row.due = DueOf(*envelope);
  row.claimed = IsClaimed(id);
  const auto destination = DestinationOf(*envelope);
  if (destination.ok()) row.destination = destination->id;
  row.envelope = *std::move(envelope);
  return row;
}

std::vector<EnvelopeRow> QueueView::EnvelopeRows(EnvelopeId after,
                                                 size_t limit) const {
  std::vector<EnvelopeRow> rows;
  for (const Envelope& envelope : Envelopes(after, limit)) {
    auto row = FindEnvelopeRow(envelope.id);
    if (row.ok()) rows.push_back(*std::move(row));
  }
  return rows;
}

void LmdbQueueStore::Drain() {
  if (commit_ != nullptr) commit_->Drain();
}

void LmdbQueueStore::Warn(absl::string_view text) {
  absl::MutexLock lock(&warning_mutex_);
  if (options_.on_warning) options_.on_warning(text);
}

}  // namespace holdfast
