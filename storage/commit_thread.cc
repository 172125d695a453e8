#include "storage/commit_thread.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace holdfast {
namespace {

// Chunks, and freed bodies, of one group.
constexpr size_t kSliceBytes = 1 << 20;
constexpr uint64_t kPageBytes = 4096;
// Of that, what garbage keeps for itself while there is some.
constexpr size_t kGarbageBytes = 256 << 10;
// After failures for lack of room.
constexpr size_t kLeastGarbageBytes = 4 << 10;
// Rows of `incoming` looked at in one group.
constexpr int kIncomingRows = 100;
// Less room than this is none: a message may be of one chunk.
constexpr int64_t kLeastRoomPages = 32;
// How often the file system is asked while others commit, or while there is
// no room.
constexpr absl::Duration kLookPeriod = absl::Seconds(1);
// Octets of history deleted besides twice what is added, by a group, by a
// commit that does nothing else, and by one while mail needs the room.
constexpr size_t kHistoryTrim = 16 << 10;
constexpr size_t kIdleHistoryTrim = 256 << 10;
constexpr size_t kPressedHistoryTrim = 256 << 10;
// How often it is looked at while nobody commits: when there is more to delete,
// and when there is some that grows old.
constexpr absl::Duration kTrimPeriod = absl::Seconds(1);
constexpr absl::Duration kHistoryPeriod = absl::Minutes(1);
// How long a group waits for views when there is no room.
constexpr absl::Duration kViewPatience = absl::Seconds(2);

void SetUpThread() {
  // Signals are for the owner's threads.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  pthread_setname_np(pthread_self(), "commit");
}

}  // namespace

// ---- ViewCount, WriterStatus

void ViewCount::Enter() {
  absl::MutexLock lock(&mutex_);
  ++views_;
}

void ViewCount::Leave() {
  absl::MutexLock lock(&mutex_);
  --views_;
}

void ViewCount::EndAll(absl::Duration patience) {
  ++epoch_;
  absl::MutexLock lock(&mutex_);
  const auto none = [this] { return views_ == 0; };
  mutex_.AwaitWithTimeout(absl::Condition(&none), patience);
}

uint64_t PinCount::Enter() {
  absl::MutexLock lock(&mutex_);
  ++pins_;
  return epoch_;
}

void PinCount::Leave(uint64_t epoch) {
  absl::MutexLock lock(&mutex_);
  if (epoch == epoch_) --pins_;
}

bool PinCount::Holds(uint64_t epoch) const {
  absl::MutexLock lock(&mutex_);
  return epoch == epoch_;
}

bool PinCount::any() const {
  absl::MutexLock lock(&mutex_);
  return pins_ > 0;
}

void PinCount::BreakAll() {
  absl::MutexLock lock(&mutex_);
  if (pins_ == 0) return;
  ++epoch_;
  pins_ = 0;
}

bool WriterStatus::IsClaimed(EnvelopeId id) const {
  absl::ReaderMutexLock lock(&mutex_);
  return claimed_.contains(id);
}

// ---- CommitThread

CommitThread::CommitThread(CommitThreadOptions options)
    : options_(std::move(options)),
      space_(options_.env->fd(), options_.reserve_bytes, options_.min_free),
      state_(options_.state),
      first_lease_(state_.next_message),
      garbage_bytes_(kSliceBytes) {
  options_.status->claimed_.insert(options_.claimed.begin(),
                                   options_.claimed.end());
  KeepSpace(true);
  if (!space_.can_reserve()) {
    options_.on_warning(
        "warn: queue: the file system can't reserve room (fallocate)");
  }
  {
    LmdbTxn txn(options_.env, LmdbTxn::kRead);
    garbage_rows_ = txn.Rows(Table::kGarbage);
    if (txn.Rows(Table::kHistory) > 0) history_ = HistoryState::kToTrim;
    const QueueTxnContext context = MakeContext(&txn, true);
    options_.status->accepting = context.accepting && context.room_pages > 0;
  }
  thread_ = std::thread([this] { Run(); });
}

CommitThread::~CommitThread() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
    wake_.Signal();
  }
  thread_.join();
}

void CommitThread::Submit(PendingBatch batch) {
  absl::MutexLock lock(&mutex_);
  submitted_.push_back(std::move(batch));
  ++submitted_count_;
  if (submitted_.size() == 1) wake_.Signal();
}

void CommitThread::Drain() {
  absl::MutexLock lock(&mutex_);
  const uint64_t goal = submitted_count_;
  while (answered_count_ < goal) drained_.Wait(&mutex_);
}

void CommitThread::TakeSubmitted() {
  std::vector<PendingBatch> batches;
  {
    absl::MutexLock lock(&mutex_);
    if (answered_ > 0) {
      answered_count_ += std::exchange(answered_, 0);
      drained_.SignalAll();
    }
    batches.swap(submitted_);
  }
  for (PendingBatch& batch : batches) pending_.Push(std::move(batch));
}

bool CommitThread::HasBackgroundWork() const {
  return life_ == State::kRunning && !background_blocked_ &&
         ((garbage_rows_ > 0 && !options_.status->pins.any()) ||
          incoming_to_clean_ || history_ == HistoryState::kPressed);
}

// How long nobody need commit before there is something to look at.
absl::Duration CommitThread::IdlePatience() const {
  if (life_ == State::kDead) return absl::InfiniteDuration();
  if (background_blocked_ || !options_.status->accepting) return kLookPeriod;
  if (garbage_rows_ > 0 && options_.status->pins.any()) return kLookPeriod;
  switch (history_) {
    case HistoryState::kNone:
      break;
    case HistoryState::kKept:
      return kHistoryPeriod;
    case HistoryState::kToTrim:
    case HistoryState::kPressed:
      return kTrimPeriod;
  }
  return absl::InfiniteDuration();
}

void CommitThread::Run() {
  SetUpThread();
  for (;;) {
    TakeSubmitted();
    if (pending_.empty() && !Wait()) return;
    TakeSubmitted();
    PendingBatches::Limits limits;
    limits.dirty_pages =
        std::max<uint64_t>(options_.reserve_bytes / 2 / kPageBytes, 64);
    limits.chunk_bytes = kSliceBytes - (garbage_rows_ > 0 ? kGarbageBytes : 0);
    std::vector<PendingBatch> group = pending_.TakeGroup(limits);
    CommitGroup(absl::MakeSpan(group));
  }
}

// Until there is something to commit, clean or look at.  False: the end.
bool CommitThread::Wait() {
  const absl::Duration patience = IdlePatience();
  const bool work = HasBackgroundWork();
  absl::MutexLock lock(&mutex_);
  while (submitted_.empty()) {
    if (stop_) return false;
    if (work) return true;
    if (wake_.WaitWithTimeout(&mutex_, patience)) {
      // Room may come back without anybody telling.
      background_blocked_ = false;
      last_look_ = absl::InfinitePast();
      return true;
    }
  }
  return true;
}

void CommitThread::KeepSpace(bool look) {
  space_.Extend(options_.env->Space());
  if (!look) return;
  space_.LookAtFileSystem();
  last_look_ = absl::Now();
}

void CommitThread::CommitGroup(absl::Span<PendingBatch> group) {
  if (life_ == State::kDead)
    return Die(group, absl::AbortedError("queue: an earlier sync failed"));
  KeepSpace(absl::Now() - last_look_ >= kLookPeriod);
  waited_for_views_ = false;
  CommitPart(group, true);
}

// Commits these batches, in as many transactions as it takes.
void CommitThread::CommitPart(absl::Span<PendingBatch> part, bool accepting) {
  if (life_ == State::kDead)
    return Die(part, absl::AbortedError("queue: an earlier sync failed"));
  std::vector<BatchResult> results;
  const absl::Status status = TryCommit(part, accepting, &results);
  if (status.ok()) {
    for (size_t i = 0; i < part.size(); ++i)
      Answer(&part[i], std::move(results[i]));
    return;
  }
  if (absl::IsAborted(status)) return Die(part, status);
  if (HasBackgroundWork()) {
    // Perhaps that was too much.
    background_blocked_ = true;
    garbage_bytes_ = std::max(garbage_bytes_ / 2, kLeastGarbageBytes);
    if (!part.empty()) return CommitPart(part, accepting);
  }
  if (absl::IsResourceExhausted(status)) {
    // Once for a group, into however many parts it falls.
    if (!std::exchange(waited_for_views_, true))
      options_.views->EndAll(kViewPatience);
    if (accepting) return CommitPart(part, false);
  }
  if (part.size() > 1) {
    CommitPart(part.subspan(0, part.size() / 2), accepting);
    CommitPart(part.subspan(part.size() / 2), accepting);
    return;
  }
  if (!part.empty() || !absl::IsResourceExhausted(status))
    options_.on_warning(absl::StrCat("warn: ", std::string(status.message())));
  AnswerAll(part, status);
}

QueueTxnContext CommitThread::MakeContext(LmdbTxn* txn, bool accepting) {
  QueueTxnContext context;
  context.claimed = &options_.status->claimed_;
  context.start = state_.start;
  context.digest_seed = options_.digest_seed;
  context.now = options_.clock();
  const LmdbSpace space = options_.env->Space();
  const uint64_t usable = space_.UsablePages(space);
  const uint64_t used = std::min(usable, txn->UsedPages());
  const uint64_t reserve = options_.reserve_bytes / space.page_bytes;
  const uint64_t free = usable - used;
  context.room_pages = free > reserve ? free - reserve : 0;
  // Reports make room in the end, so a quarter of the reserve is theirs.
  const uint64_t report_reserve = reserve - reserve / 4;
  context.report_room_pages = free > report_reserve ? free - report_reserve : 0;
  context.accepting = accepting && space_.file_system_has_room();
  context.keep_attempts = options_.keep_attempts;
  context.scarce = free < reserve - reserve / 8;
  context.hardly_any = free < reserve / 2;
  context.store = options_.store;
  context.first_lease = first_lease_;
  // Pinned bodies may take room, but not all of it.
  if (IsPressed(space, used, free)) options_.status->pins.BreakAll();
  context.pinned = options_.status->pins.any();
  context.history = PlanHistory(space, used, free, accepting);
  return context;
}

// Mail goes first: less than the reserve is left of the map beside the reserve,
// or the file can't grow any more.
bool CommitThread::IsPressed(const LmdbSpace& space, uint64_t used,
                             uint64_t free) const {
  const uint64_t reserve = options_.reserve_bytes / space.page_bytes;
  return space.map_pages < used + 2 * reserve || free < reserve + reserve / 8;
}

// While there is little room history is not written, and what there is goes.
HistoryPlan CommitThread::PlanHistory(const LmdbSpace& space, uint64_t used,
                                      uint64_t free, bool accepting) const {
  HistoryPlan plan;
  if (!accepting || !options_.env->HasTable(Table::kHistory)) return plan;
  plan.age = options_.history_age;
  plan.pages = options_.history_bytes / space.page_bytes;
  plan.pressed = IsPressed(space, used, free);
  plan.write = plan.age > absl::ZeroDuration() && !plan.pressed &&
               space_.file_system_has_room();
  plan.trim_bytes = plan.pressed ? kPressedHistoryTrim : kHistoryTrim;
  return plan;
}

void CommitThread::DoBackgroundWork(QueueTxn* queue) {
  if (background_blocked_) return;
  if (incoming_to_clean_)
    incoming_to_clean_ = queue->CleanIncoming(&clean_from_, kIncomingRows);
  if (garbage_rows_ > 0) queue->CollectGarbage();
  history_to_trim_ = queue->TrimHistory();
}

absl::Status CommitThread::TryCommit(absl::Span<PendingBatch> part,
                                     bool accepting,
                                     std::vector<BatchResult>* results) {
  const auto begin = std::chrono::steady_clock::now();
  LmdbTxn txn(options_.env, LmdbTxn::kWrite);
  QueueTxnContext context = MakeContext(&txn, accepting);
  const size_t chunks = pending_.last_chunk_bytes();
  context.free_bytes =
      std::min(garbage_bytes_, kSliceBytes - std::min(chunks, kSliceBytes));
  if (part.empty() && context.history.trim_bytes > 0)
    context.history.trim_bytes = kIdleHistoryTrim;
  QueueTxn queue(&txn, context, state_);
  for (PendingBatch& batch : part) {
    BatchResult& result = results->emplace_back();
    result.operations.reserve(batch.operations.size());
    for (const QueueOperation& operation : batch.operations)
      result.operations.push_back(queue.Apply(operation));
    if (batch.aside.has_value()) queue.Apply(*batch.aside);
    result.lanes = queue.TakeLanes();
    result.reports_added = queue.TakeReportsAdded();
    if (!txn.ok()) return txn.status();
  }
  const bool cleaned_before = incoming_to_clean_;
  DoBackgroundWork(&queue);
  queue.Flush();
  const uint64_t garbage = txn.Rows(Table::kGarbage);
  const bool history = txn.Rows(Table::kHistory) > 0;
  const absl::Status status = txn.Commit();
  if (!status.ok()) {
    incoming_to_clean_ = cleaned_before;
    clean_from_ = MessageId{0};
    return status;
  }
  garbage_rows_ = garbage;
  history_ = !history                  ? HistoryState::kNone
             : context.history.pressed ? HistoryState::kPressed
             : history_to_trim_        ? HistoryState::kToTrim
                                       : HistoryState::kKept;
  garbage_bytes_ = std::min(garbage_bytes_ * 2, kSliceBytes);
  Adopt(queue, part.size());
  Measure(part, absl::FromChrono(std::chrono::steady_clock::now() - begin));
  return status;
}

// What the store does by itself (`part` is empty) is no commit of anybody's.
void CommitThread::Measure(absl::Span<PendingBatch> part, absl::Duration took) {
  if (part.empty()) return;
  uint64_t operations = 0;
  for (const PendingBatch& batch : part) operations += batch.operations.size();
  options_.status->meter.AddCommit(operations, took);
}

// The transaction is on disk: what memory knows follows.
void CommitThread::Adopt(const QueueTxn& queue, size_t group_size) {
  state_ = queue.state();
  WriterStatus& status = *options_.status;
  status.meter.SetBacklogs(queue.backlogs());
  if (!queue.claim_changes().empty()) {
    absl::MutexLock lock(&status.mutex_);
    for (const auto& [id, claimed] : queue.claim_changes()) {
      if (claimed) {
        status.claimed_.insert(id);
      } else {
        status.claimed_.erase(id);
      }
    }
  }
  if (group_size > 0) {
    background_blocked_ = false;
    ++status.commits;
    status.last_group = group_size;
  }
  // Once refused, there must be some room before clients are asked in again.
  const int64_t wanted =
      status.accepting
          ? kLeastRoomPages
          : static_cast<int64_t>(options_.reserve_bytes / kPageBytes / 8);
  status.accepting = queue.HasRoom(wanted);
  for (const Damage& damage : queue.damage()) options_.on_damage(damage);
}

void CommitThread::Answer(PendingBatch* batch, BatchResult result) {
  ++answered_;
  if (batch->done) batch->done(std::move(result));
}

void CommitThread::AnswerAll(absl::Span<PendingBatch> part,
                             const absl::Status& each) {
  for (PendingBatch& batch : part) {
    BatchResult result;
    result.operations.resize(batch.operations.size());
    for (OperationResult& operation : result.operations)
      operation.status = each;
    Answer(&batch, std::move(result));
  }
}

void CommitThread::Die(absl::Span<PendingBatch> part,
                       const absl::Status& status) {
  if (life_ == State::kRunning) {
    options_.on_sync_failed();
    options_.on_warning(absl::StrCat("warn: ", std::string(status.message())));
  }
  life_ = State::kDead;
  options_.status->accepting = false;
  for (PendingBatch& batch : part) {
    BatchResult result;
    result.status = status;
    Answer(&batch, std::move(result));
  }
}

}  // namespace holdfast
