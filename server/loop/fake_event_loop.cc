#include "server/loop/fake_event_loop.h"

#include <poll.h>

#include <memory>
#include <vector>

namespace holdfast {

class FakeEventLoop::FakeTimer : public EventLoop::Registration {
 public:
  FakeTimer(FakeEventLoop* loop, absl::Duration due, Task task)
      : loop_(loop), key_(due, loop->sequence_++), task_(std::move(task)) {
    loop_->timers_[key_] = this;
  }
  ~FakeTimer() override {
    if (loop_ != nullptr) loop_->timers_.erase(key_);
  }
  void Fire() {
    loop_->timers_.erase(key_);
    loop_ = nullptr;
    Task task = std::move(task_);
    task();  // may destroy the timer
  }
  void Forget() { loop_ = nullptr; }

 private:
  FakeEventLoop* loop_;  // null once fired, or once the loop is gone
  std::pair<absl::Duration, uint64_t> key_;
  Task task_;
};

class FakeEventLoop::FakeWatch : public EventLoop::Watch {
 public:
  FakeWatch(FakeEventLoop* loop, int fd, Task on_readable, Task on_writable)
      : loop_(loop),
        id_(loop->sequence_++),
        fd_(fd),
        on_readable_(std::make_shared<Task>(std::move(on_readable))),
        on_writable_(std::make_shared<Task>(std::move(on_writable))) {
    loop_->watches_[id_] = this;
  }
  ~FakeWatch() override {
    if (loop_ != nullptr) loop_->watches_.erase(id_);
  }
  void Want(bool readable, bool writable) override {
    events_ =
        static_cast<short>((readable ? POLLIN : 0) | (writable ? POLLOUT : 0));
  }
  int fd() const { return fd_; }
  short events() const { return events_; }
  // Copies, for a task may drop the watch while it runs.
  std::shared_ptr<Task> on_readable() const { return on_readable_; }
  std::shared_ptr<Task> on_writable() const { return on_writable_; }
  void Forget() { loop_ = nullptr; }

 private:
  FakeEventLoop* loop_;
  uint64_t id_;
  int fd_;
  short events_ = 0;
  std::shared_ptr<Task> on_readable_;
  std::shared_ptr<Task> on_writable_;
};

FakeEventLoop::FakeEventLoop(absl::Time start) : now_(start) {}

FakeEventLoop::~FakeEventLoop() {
  for (auto& [key, timer] : timers_) timer->Forget();
  for (auto& [id, watch] : watches_) watch->Forget();
}

EventLoop::Timer FakeEventLoop::RunAfter(absl::Duration delay, Task task) {
  return std::make_unique<FakeTimer>(
      this, elapsed_ + std::max(delay, absl::ZeroDuration()), std::move(task));
}

void FakeEventLoop::AtTurnEnd(Task task) {
  turn_end_.push_back(std::move(task));
}

void FakeEventLoop::Post(Task task) {
  std::lock_guard<std::mutex> lock(mutex_);
  posted_.push_back(std::move(task));
}

std::unique_ptr<EventLoop::Watch> FakeEventLoop::WatchDescriptor(
    int fd, Task on_readable, Task on_writable) {
  return std::make_unique<FakeWatch>(this, fd, std::move(on_readable),
                                     std::move(on_writable));
}

// Signals don't come in tests: what they cause is called directly.
EventLoop::Timer FakeEventLoop::OnSignal(int, Task) {
  return std::make_unique<Registration>();
}

// One turn.  Whether anything ran.
bool FakeEventLoop::RunOnce() {
  bool ran = false;
  while (!timers_.empty() && timers_.begin()->first.first <= elapsed_) {
    timers_.begin()->second->Fire();
    ran = true;
  }
  std::deque<Task> posted;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    posted.swap(posted_);
  }
  for (Task& task : posted) {
    task();
    ran = true;
  }
  std::vector<uint64_t> ids;
  for (auto& [id, watch] : watches_) ids.push_back(id);
  for (uint64_t id : ids) {
    for (const short event : {POLLIN, POLLOUT}) {
      auto it = watches_.find(id);  // a callback may have dropped it
      if (it == watches_.end() || !(it->second->events() & event)) continue;
      pollfd p = {it->second->fd(), event, 0};
      if (poll(&p, 1, 0) <= 0 || p.revents == 0) continue;
      ran = true;
      const std::shared_ptr<Task> task = event == POLLIN
                                             ? it->second->on_readable()
                                             : it->second->on_writable();
      (*task)();
    }
  }
  while (!turn_end_.empty()) {
    Task task = std::move(turn_end_.front());
    turn_end_.pop_front();
    task();
    ran = true;
  }
  for (Task& task : every_turn_end_) task();
  return ran;
}

void FakeEventLoop::RunReady() {
  while (RunOnce()) {
  }
}

void FakeEventLoop::Advance(absl::Duration d) {
  const absl::Duration end = elapsed_ + d;
  RunReady();
  while (!timers_.empty() && timers_.begin()->first.first <= end) {
    const absl::Duration step = timers_.begin()->first.first - elapsed_;
    elapsed_ += step;
    now_ += step;
    RunReady();
  }
  now_ += end - elapsed_;
  elapsed_ = end;
  RunReady();
}

}  // namespace holdfast
