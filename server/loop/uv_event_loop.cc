// The event loop on libuv.  The only file that knows libuv.
//
// A libuv handle may be freed only in its close callback.  So each handle
// lives in a small heap object that outlives its owner's Timer or Watch: the
// owner drops, the handle is closed, and its memory goes when libuv says so.
#include <uv.h>

#include <deque>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/time/clock.h"
#include "server/loop/event_loop.h"

namespace holdfast {
namespace {

template <class T>
void CloseAndDelete(T* cell) {
  cell->handle.data = nullptr;  // callbacks still on their way find nobody
  uv_close(reinterpret_cast<uv_handle_t*>(&cell->handle),
           [](uv_handle_t* h) { delete reinterpret_cast<T*>(h); });
}

// Each cell has its handle first, so that a handle's address is the cell's.
struct TimerCell {
  uv_timer_t handle;
};
struct SignalCell {
  uv_signal_t handle;
};
struct PollCell {
  uv_poll_t handle;
};

class UvTimer : public EventLoop::Registration {
 public:
  UvTimer(uv_loop_t* loop, absl::Duration delay, Task task)
      : cell_(new TimerCell), task_(std::move(task)) {
    uv_timer_init(loop, &cell_->handle);
    cell_->handle.data = this;
    // Rounded up: never earlier than asked.
    const int64_t ms = absl::ToInt64Milliseconds(absl::Ceil(
        std::max(delay, absl::ZeroDuration()), absl::Milliseconds(1)));
    uv_timer_start(&cell_->handle, &OnTimer, static_cast<uint64_t>(ms), 0);
  }
  ~UvTimer() override { CloseAndDelete(cell_); }

 private:
  static void OnTimer(uv_timer_t* handle) {
    auto* self = static_cast<UvTimer*>(handle->data);
    if (self == nullptr) return;
    Task task = std::move(self->task_);
    task();  // may destroy the timer
  }

  TimerCell* cell_;
  Task task_;
};

class UvSignal : public EventLoop::Registration {
 public:
  UvSignal(uv_loop_t* loop, int signal, Task task)
      : cell_(new SignalCell), task_(std::make_shared<Task>(std::move(task))) {
    uv_signal_init(loop, &cell_->handle);
    cell_->handle.data = this;
    uv_signal_start(&cell_->handle, &OnSignal, signal);
  }
  ~UvSignal() override { CloseAndDelete(cell_); }

 private:
  static void OnSignal(uv_signal_t* handle, int) {
    auto* self = static_cast<UvSignal*>(handle->data);
    if (self == nullptr) return;
    const std::shared_ptr<Task> task = self->task_;
    (*task)();
  }

  SignalCell* cell_;
  std::shared_ptr<Task> task_;
};

class UvWatch : public EventLoop::Watch {
 public:
  UvWatch(uv_loop_t* loop, int fd, Task on_readable, Task on_writable)
      : cell_(new PollCell),
        tasks_(std::make_shared<Tasks>(
            Tasks{std::move(on_readable), std::move(on_writable)})) {
    uv_poll_init(loop, &cell_->handle, fd);
    cell_->handle.data = this;
  }
  ~UvWatch() override {
    tasks_->dropped = true;
    CloseAndDelete(cell_);
  }

  void Want(bool readable, bool writable) override {
    const int events =
        (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);
    if (events == wanted_) return;
    wanted_ = events;
    if (events == 0) {
      uv_poll_stop(&cell_->handle);
    } else {
      uv_poll_start(&cell_->handle, events, &OnPoll);
    }
  }

 private:
  // Shared with a callback that runs: it may drop the watch, and must not be
  // destroyed under itself.
  struct Tasks {
    Task on_readable;
    Task on_writable;
    bool dropped = false;
  };

  static void OnPoll(uv_poll_t* handle, int status, int events) {
    auto* self = static_cast<UvWatch*>(handle->data);
    if (self == nullptr) return;
    // An error: let whoever is interested read or write it.  libuv has stopped
    // the handle, but bytes that came before the error may be read first.
    if (status < 0) {
      events = self->wanted_;
      uv_poll_start(handle, self->wanted_, &OnPoll);
    }
    const std::shared_ptr<Tasks> tasks = self->tasks_;
    if ((events & UV_READABLE) && (self->wanted_ & UV_READABLE))
      tasks->on_readable();
    if (!tasks->dropped && (events & UV_WRITABLE) &&
        (self->wanted_ & UV_WRITABLE))
      tasks->on_writable();
  }

  PollCell* cell_;
  std::shared_ptr<Tasks> tasks_;
  int wanted_ = 0;
};

class UvEventLoop : public EventLoop {
 public:
  UvEventLoop() {
    uv_loop_init(&loop_);
    uv_check_init(&loop_, &check_);
    check_.data = this;
    uv_check_start(&check_, [](uv_check_t* h) {
      static_cast<UvEventLoop*>(h->data)->EndTurn();
    });
    // Timers run before polling; what they defer must not wait for the poll.
    uv_prepare_init(&loop_, &prepare_);
    prepare_.data = this;
    uv_prepare_start(&prepare_, [](uv_prepare_t* h) {
      static_cast<UvEventLoop*>(h->data)->EndTurn();
    });
    uv_async_init(&loop_, &async_, [](uv_async_t* h) {
      static_cast<UvEventLoop*>(h->data)->RunPosted();
    });
    async_.data = this;
    now_ = absl::Now();
  }

  ~UvEventLoop() override {
    turn_end_.clear();
    every_turn_end_.clear();
    posted_.clear();
    uv_close(reinterpret_cast<uv_handle_t*>(&check_), nullptr);
    uv_close(reinterpret_cast<uv_handle_t*>(&prepare_), nullptr);
    uv_close(reinterpret_cast<uv_handle_t*>(&async_), nullptr);
    // Runs the close callbacks; nothing else is left to run.
    uv_run(&loop_, UV_RUN_DEFAULT);
    uv_loop_close(&loop_);
  }

  absl::Time Now() const override {
    if (now_is_old_) {
      now_ = absl::Now();
      now_is_old_ = false;
    }
    return now_;
  }
  absl::Duration Elapsed() const override {
    return absl::Milliseconds(static_cast<int64_t>(uv_now(&loop_)));
  }

  Timer RunAfter(absl::Duration delay, Task task) override {
    return std::make_unique<UvTimer>(&loop_, delay, std::move(task));
  }
  void AtTurnEnd(Task task) override { turn_end_.push_back(std::move(task)); }
  void OnEveryTurnEnd(Task task) override {
    every_turn_end_.push_back(std::move(task));
  }

  void Post(Task task) override {
    bool first;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      first = posted_.empty();
      posted_.push_back(std::move(task));
    }
    if (first) uv_async_send(&async_);
  }

  std::unique_ptr<Watch> WatchDescriptor(int fd, Task on_readable,
                                         Task on_writable) override {
    return std::make_unique<UvWatch>(&loop_, fd, std::move(on_readable),
                                     std::move(on_writable));
  }
  Timer OnSignal(int signal, Task task) override {
    return std::make_unique<UvSignal>(&loop_, signal, std::move(task));
  }

  void Run() override {
    stopped_ = false;
    now_is_old_ = true;
    while (!stopped_) uv_run(&loop_, UV_RUN_ONCE);
    EndTurn();
  }
  void Stop() override {
    stopped_ = true;
    uv_stop(&loop_);
  }

 private:
  void EndTurn() {
    while (!turn_end_.empty()) {
      std::deque<Task> tasks;
      tasks.swap(turn_end_);
      for (Task& task : tasks) task();
    }
    for (Task& task : every_turn_end_) task();
    now_is_old_ = true;
  }

  void RunPosted() {
    std::deque<Task> tasks;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      tasks.swap(posted_);
    }
    for (Task& task : tasks) task();
  }

  mutable uv_loop_t loop_;
  uv_check_t check_;
  uv_prepare_t prepare_;
  uv_async_t async_;
  std::deque<Task> turn_end_;
  std::deque<Task> every_turn_end_;
  std::mutex mutex_;
  std::deque<Task> posted_;  // guarded by mutex_
  mutable absl::Time now_;
  mutable bool now_is_old_ = true;
  bool stopped_ = false;
};

}  // namespace

std::unique_ptr<EventLoop> MakeUvEventLoop() {
  return std::make_unique<UvEventLoop>();
}

}  // namespace holdfast
