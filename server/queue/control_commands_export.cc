// export-data [FILTER]: smtpctl-store's side of `queue export`: the stream of
// protocol/queue_transfer.h, made on a thread of its own.  One at a time.
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "protocol/envelope_filter.h"
#include "protocol/vis.h"
#include "server/log/log.h"
#include "server/queue/control_command.h"
#include "storage/queue_export.h"
#include "storage/queue_walk.h"

namespace holdfast {
namespace {

// What the client has not taken yet; then the export waits for it,
constexpr size_t kMaxPending = 1 << 20;
// this long: its pin must not outlive a client that is stuck.
constexpr auto kMaxStandstill = std::chrono::seconds(60);

// What the exporting thread and the loop share.
struct ExportState {
  std::mutex mutex;
  std::condition_variable taken;
  std::string pending;
  bool abandoned = false;  // nobody listens any more
  bool ended = false;
  absl::Status status;
};

// Waits until there is room for it.
absl::Status Push(ExportState& state, std::string piece, bool* first) {
  std::unique_lock<std::mutex> lock(state.mutex);
  const bool room = state.taken.wait_for(lock, kMaxStandstill, [&] {
    return state.abandoned || piece.empty() ||
           state.pending.size() < kMaxPending;
  });
  if (state.abandoned) return absl::CancelledError("nobody listens");
  if (!room) return absl::DeadlineExceededError("export: the client is stuck");
  *first = state.pending.empty() && !piece.empty();
  state.pending += piece;
  return absl::OkStatus();
}

struct ExportThread {
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

class ExportCommand : public ControlCommand,
                      public std::enable_shared_from_this<ExportCommand> {
 public:
  ExportCommand(QueueServices* services, ControlOutput* output,
                std::string filter)
      : services_(services), output_(output), filter_(std::move(filter)) {}
  ~ExportCommand() override {
    if (state_) Abandon(*state_);
  }

  void OnCredit() override {
    if (!state_) {
      const absl::Status status = Start();
      if (!status.ok()) return End(status);
    }
    credit_ = true;
    Say();
  }

 private:
  absl::Status Start() {
    absl::StatusOr<EnvelopeFilter> filter =
        EnvelopeFilter::Parse(filter_, services_->loop()->Now());
    if (!filter.ok()) return filter.status();
    ExportThread& thread = TheExport();
    const std::lock_guard<std::mutex> lock(thread.mutex);
    if (thread.state) {
      const std::lock_guard<std::mutex> inner(thread.state->mutex);
      if (!thread.state->ended)
        return absl::UnavailableError("an export is running already");
    }
    if (thread.thread.joinable()) thread.thread.join();
    state_ = thread.state = std::make_shared<ExportState>();
    ExportOptions options;
    if (!filter_.empty()) {
      options.matches = [filter = *std::move(filter),
                         now = services_->loop()->Now()](const QueueView& view,
                                                         EnvelopeId id) {
        const absl::StatusOr<EnvelopeFacts> facts = FactsOf(view, id, now);
        return facts.ok() && filter.Matches(*facts);
      };
    }
    thread.thread =
        std::thread([state = state_, store = services_->store(),
                     options = std::move(options), loop = services_->loop(),
                     weak = weak_from_this()]() mutable {
          Run(*state, store, std::move(options), [&] {
            loop->Post([weak] {
              if (auto self = weak.lock()) self->Say();
            });
          });
        });
    return absl::OkStatus();
  }

  // On the thread.
  template <class Wake>
  static void Run(ExportState& state, QueueStore* store, ExportOptions options,
                  Wake wake) {
    const absl::Status status =
        ExportQueue(store, std::move(options), [&](std::string piece) {
          bool first = false;
          const absl::Status pushed = Push(state, std::move(piece), &first);
          if (first) wake();
          return pushed;
        });
    const std::lock_guard<std::mutex> lock(state.mutex);
    state.status = status;
    state.ended = true;
    if (!state.abandoned) wake();
  }

  void Say() {
    if (!credit_ || done_) return;
    std::string piece;
    absl::Status status;
    {
      const std::lock_guard<std::mutex> lock(state_->mutex);
      if (state_->pending.empty() && !state_->ended) return;
      piece = state_->pending.substr(0, kMaxControlText);
      state_->pending.erase(0, piece.size());
      status = state_->status;
      state_->taken.notify_all();
    }
    if (piece.empty()) return End(status);
    credit_ = false;
    output_->Text(std::move(piece));
  }

  void End(const absl::Status& status) {
    done_ = true;
    ControlDone done;
    done.ok = status.ok();
    done.error = std::string(status.message());
    LogInfo("queue export: %s",
            status.ok() ? std::string("done") : VisEncode(done.error));
    output_->Done(std::move(done));
  }

  QueueServices* const services_;
  ControlOutput* const output_;
  const std::string filter_;
  std::shared_ptr<ExportState> state_;
  bool credit_ = false;
  bool done_ = false;
};

}  // namespace

void EndExports() {
  ExportThread& thread = TheExport();
  const std::lock_guard<std::mutex> lock(thread.mutex);
  if (thread.state) Abandon(*thread.state);
  if (thread.thread.joinable()) thread.thread.join();
  thread.state.reset();
}

std::shared_ptr<ControlCommand> MakeExportCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output) {
  if (words.size() < 2 || words[0] != "queue" || words[1] != "export-data")
    return nullptr;
  return std::make_shared<ExportCommand>(
      services, output, absl::StrJoin(words.begin() + 2, words.end(), " "));
}

}  // namespace holdfast
