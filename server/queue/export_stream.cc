#include "server/queue/export_stream.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "storage/idle_priority.h"

namespace holdfast {
namespace {

// What the client has not taken yet; then the export waits for it,
constexpr size_t kMaxPending = 1 << 20;
// this long: its pin must not outlive a client that is stuck.
constexpr auto kMaxStandstill = std::chrono::seconds(60);

}  // namespace

struct ExportState {
  std::mutex mutex;
  std::condition_variable taken;
  std::deque<std::string> pending;
  size_t pending_bytes = 0;
  // With the mutex held.
  void Add(std::string piece) {
    if (piece.empty()) return;
    pending_bytes += piece.size();
    pending.push_back(std::move(piece));
  }

  bool abandoned = false;  // nobody listens any more
  bool ended = false;
  absl::Status status;
};

namespace {

struct ExportThread {
  // With the mutex held.
  bool IsRunning() const {
    if (!state) return false;
    const std::lock_guard<std::mutex> lock(state->mutex);
    return !state->ended;
  }

  std::mutex mutex;
  std::thread thread;
  std::shared_ptr<ExportState> state;
};
ExportThread& TheExport() {
  static ExportThread* const thread = new ExportThread;
  return *thread;
}

void Abandon(ExportState& state) {
  const std::lock_guard<std::mutex> lock(state.mutex);
  state.abandoned = true;
  state.taken.notify_all();
}

// Waits until there is room for it.
absl::Status Push(ExportState& state, std::string piece, bool* first) {
  std::unique_lock<std::mutex> lock(state.mutex);
  const bool room = state.taken.wait_for(lock, kMaxStandstill, [&] {
    return state.abandoned || piece.empty() ||
           state.pending_bytes < kMaxPending;
  });
  if (state.abandoned) return absl::CancelledError("nobody listens");
  if (!room) return absl::DeadlineExceededError("export: the client is stuck");
  *first = state.pending.empty() && !piece.empty();
  state.Add(std::move(piece));
  return absl::OkStatus();
}

void Run(ExportState& state, QueueStore* store, ExportOptions options,
         absl::AnyInvocable<void()> wake) {
  // The last piece comes together with the end, so that whoever takes it knows
  // that it is the last, and nobody gets it of an export that fails.
  std::string last;
  const absl::Status status =
      ExportQueue(store, std::move(options), [&](std::string piece) {
        bool first = false;
        const absl::Status pushed = Push(
            state, piece.empty() ? "" : std::exchange(last, std::move(piece)),
            &first);
        if (first) wake();
        return pushed;
      });
  bool heard = false;
  {
    const std::lock_guard<std::mutex> lock(state.mutex);
    if (status.ok()) state.Add(std::move(last));
    state.status = status;
    state.ended = true;
    heard = !state.abandoned;
  }
  if (heard) wake();
}

}  // namespace

ExportStream::ExportStream(std::shared_ptr<ExportState> state)
    : state_(std::move(state)) {}

ExportStream::~ExportStream() { Abandon(*state_); }

absl::StatusOr<std::unique_ptr<ExportStream>> ExportStream::Begin(
    QueueStore* store, ExportOptions options, absl::AnyInvocable<void()> wake) {
  ExportThread& thread = TheExport();
  const std::lock_guard<std::mutex> lock(thread.mutex);
  if (thread.IsRunning())
    return absl::UnavailableError("an export is running already");
  if (thread.thread.joinable()) thread.thread.join();
  thread.state = std::make_shared<ExportState>();
  thread.thread =
      std::thread([state = thread.state, store, options = std::move(options),
                   wake = std::move(wake)]() mutable {
        options.collected = RunAtIdlePriority;
        Run(*state, store, std::move(options), std::move(wake));
      });
  return std::unique_ptr<ExportStream>(new ExportStream(thread.state));
}

bool ExportStream::IsRunning() {
  ExportThread& thread = TheExport();
  const std::lock_guard<std::mutex> lock(thread.mutex);
  return thread.IsRunning();
}

ExportStream::Piece ExportStream::Take(size_t limit) {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  Piece piece;
  if (!state_->pending.empty()) {
    std::string& front = state_->pending.front();
    if (front.size() <= limit) {
      piece.bytes = std::move(front);
      state_->pending.pop_front();
    } else {
      piece.bytes = front.substr(0, limit);
      front.erase(0, limit);
    }
    state_->pending_bytes -= piece.bytes.size();
  }
  piece.ended = state_->ended && state_->pending.empty();
  piece.status = state_->status;
  state_->taken.notify_all();
  return piece;
}

void EndExports() {
  ExportThread& thread = TheExport();
  const std::lock_guard<std::mutex> lock(thread.mutex);
  if (thread.state) Abandon(*thread.state);
  if (thread.thread.joinable()) thread.thread.join();
  thread.state.reset();
}

}  // namespace holdfast
