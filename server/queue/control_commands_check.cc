#include "server/queue/control_commands_check.h"

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "protocol/vis.h"
#include "server/queue/control_command.h"

namespace holdfast {
namespace {

// Problems that nobody has taken yet; then the check waits for its reader.
constexpr size_t kMaxPendingText = 256 << 10;
constexpr absl::Duration kProgressEvery = absl::Seconds(5);

// What the checking thread and the loop share.
struct CheckState {
  std::mutex mutex;
  std::condition_variable taken;
  std::string text;
  uint64_t rows = 0;
  bool abandoned = false;  // nobody listens any more
  bool ended = false;
  absl::Status status;
  CheckSummary summary;
};

// One check at a time: it reads the whole store.
struct CheckThread {
  std::mutex mutex;
  std::thread thread;
  std::shared_ptr<CheckState> state;
};
CheckThread& TheCheck() {
  static CheckThread* const check = new CheckThread;
  return *check;
}

void Abandon(CheckState& state) {
  const std::lock_guard<std::mutex> lock(state.mutex);
  state.abandoned = true;
  state.taken.notify_all();
}

class CheckCommand : public ControlCommand,
                     public std::enable_shared_from_this<CheckCommand> {
 public:
  CheckCommand(QueueServices* services, ControlOutput* output,
               QueueChecker checker)
      : services_(services), output_(output), checker_(checker) {}
  ~CheckCommand() override {
    if (state_) Abandon(*state_);
  }

  void OnCredit() override {
    if (!state_ && !Start()) {
      ControlDone done;
      done.ok = false;
      done.error = "a check is running already";
      return output_->Done(done);
    }
    if (said_all_) return output_->Done(done_);
    credit_ = true;
    timer_ =
        services_->loop()->RunAfter(kProgressEvery, [this] { SayProgress(); });
    Say();
  }

 private:
  bool Start() {
    CheckThread& check = TheCheck();
    const std::lock_guard<std::mutex> lock(check.mutex);
    if (check.state) {
      const std::lock_guard<std::mutex> inner(check.state->mutex);
      if (!check.state->ended) return false;
    }
    if (check.thread.joinable()) check.thread.join();
    state_ = check.state = std::make_shared<CheckState>();
    check.thread = std::thread([state = state_, store = services_->store(),
                                checker = checker_, loop = services_->loop(),
                                weak = weak_from_this()] {
      Run(*state, store, checker, [&] {
        loop->Post([weak] {
          if (auto self = weak.lock()) self->Say();
        });
      });
    });
    return true;
  }

  // On the thread.
  template <class Wake>
  static void Run(CheckState& state, QueueStore* store, QueueChecker checker,
                  Wake wake) {
    auto problem = [&](absl::string_view line) {
      std::unique_lock<std::mutex> lock(state.mutex);
      state.taken.wait(lock, [&] {
        return state.abandoned || state.text.size() < kMaxPendingText;
      });
      if (state.abandoned) return;
      const bool first = state.text.empty();
      absl::StrAppend(&state.text, VisEncode(line), "\n");
      if (first) wake();
    };
    absl::StatusOr<CheckSummary> summary =
        checker(store, problem, [&](uint64_t rows) {
          const std::lock_guard<std::mutex> lock(state.mutex);
          state.rows = rows;
        });
    const std::lock_guard<std::mutex> lock(state.mutex);
    state.status = summary.status();
    if (summary.ok()) state.summary = *summary;
    state.ended = true;
    if (!state.abandoned) wake();
  }

  void Say() {
    if (!credit_) return;
    std::string text;
    {
      const std::lock_guard<std::mutex> lock(state_->mutex);
      text = std::exchange(state_->text, "");
      if (state_->ended) text += LastLine();
      state_->taken.notify_all();
    }
    if (text.empty()) return said_all_ ? output_->Done(done_) : void();
    Send(std::move(text));
  }

  void SayProgress() {
    if (!credit_) return;
    uint64_t rows = 0;
    {
      const std::lock_guard<std::mutex> lock(state_->mutex);
      rows = state_->rows;
    }
    Send(absl::StrCat("queue check: ", rows, " rows seen\n"));
  }

  void Send(std::string text) {
    credit_ = false;
    timer_.reset();
    output_->Text(std::move(text));
  }

  std::string LastLine() {
    said_all_ = true;
    if (!state_->status.ok()) {
      done_.ok = false;
      done_.error = std::string(state_->status.message());
      return "";
    }
    const CheckSummary& s = state_->summary;
    done_.ok = s.problems == 0;
    done_.count = s.problems;
    return absl::StrCat("queue check: ", s.messages, " messages, ", s.envelopes,
                        " envelopes, ", s.problems, " problems\n");
  }

  QueueServices* const services_;
  ControlOutput* const output_;
  const QueueChecker checker_;
  std::shared_ptr<CheckState> state_;
  bool credit_ = false;
  bool said_all_ = false;
  ControlDone done_;
  EventLoop::Timer timer_;
};

}  // namespace

void EndChecks() {
  CheckThread& check = TheCheck();
  const std::lock_guard<std::mutex> lock(check.mutex);
  if (check.state) Abandon(*check.state);
  if (check.thread.joinable()) check.thread.join();
  check.state.reset();
}

std::shared_ptr<ControlCommand> MakeCheckCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output, QueueChecker checker) {
  if (words != std::vector<std::string>{"queue", "check"}) return nullptr;
  return std::make_shared<CheckCommand>(services, output, checker);
}

}  // namespace holdfast
