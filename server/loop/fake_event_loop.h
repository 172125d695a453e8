// An EventLoop for tests: time moves when told, nothing sleeps.
#ifndef HOLDFAST_SERVER_LOOP_FAKE_EVENT_LOOP_H_
#define HOLDFAST_SERVER_LOOP_FAKE_EVENT_LOOP_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "server/loop/event_loop.h"

namespace holdfast {

class FakeEventLoop : public EventLoop {
 public:
  explicit FakeEventLoop(absl::Time start = absl::FromUnixSeconds(1795324000));
  ~FakeEventLoop() override;

  absl::Time Now() const override { return now_; }
  absl::Duration Elapsed() const override { return elapsed_; }
  Timer RunAfter(absl::Duration delay, Task task) override;
  void AtTurnEnd(Task task) override;
  void OnEveryTurnEnd(Task task) override {
    every_turn_end_.push_back(std::move(task));
  }
  void Post(Task task) override;
  // Descriptors are polled by RunReady(); real pipes and sockets work.
  std::unique_ptr<Watch> WatchDescriptor(int fd, Task on_readable,
                                         Task on_writable) override;
  Timer OnSignal(int signal, Task task) override;
  // Runs until nothing is ready: as RunReady().
  void Run() override { RunReady(); }
  void Stop() override {}

  // Runs posted and deferred tasks, timers that are due and descriptors that
  // are ready, until there are none.
  void RunReady();
  // Moves both clocks by `d`, running what comes due in order of time.
  void Advance(absl::Duration d);
  // The wall clock jumps; elapsed time doesn't.
  void JumpWallClock(absl::Duration d) { now_ += d; }

 private:
  class FakeTimer;
  class FakeWatch;
  bool RunOnce();

  absl::Time now_;
  absl::Duration elapsed_ = absl::ZeroDuration();
  uint64_t sequence_ = 0;
  std::map<std::pair<absl::Duration, uint64_t>, FakeTimer*> timers_;
  std::map<uint64_t, FakeWatch*> watches_;
  std::deque<Task> turn_end_;
  std::deque<Task> every_turn_end_;
  std::mutex mutex_;
  std::deque<Task> posted_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOP_FAKE_EVENT_LOOP_H_
