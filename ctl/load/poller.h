// A small event loop over epoll(7) for the load tools: file descriptors,
// one-shot timers and a hook after every round.  The tools watch the server
// from outside, so they share no code with its own loop.
//
// One thread.  A handler may remove itself or any other descriptor.
#ifndef HOLDFAST_CTL_LOAD_POLLER_H_
#define HOLDFAST_CTL_LOAD_POLLER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

namespace holdfast {

class Poller {
 public:
  using Handler = std::function<void(uint32_t events)>;
  using TimerId = std::pair<int64_t, uint64_t>;

  Poller();
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // Calls `handler` with epoll's event bits; the descriptor stays the
  // caller's, who removes it before closing it.
  void Add(int fd, uint32_t events, Handler handler);
  void Modify(int fd, uint32_t events);
  void Remove(int fd);

  // Calls `task` once, `delay_ms` from now, from Run().
  TimerId After(int64_t delay_ms, std::function<void()> task);
  void Cancel(TimerId id);

  // Called at the end of every round, when all that had arrived was handled.
  void SetRoundHook(std::function<void()> hook) { hook_ = std::move(hook); }

  // Runs rounds until Stop().
  void Run();
  void Stop() { stopped_ = true; }

  // Milliseconds of the monotonic clock.
  static int64_t NowMs();

 private:
  void Round();
  void RunTimers();

  int epoll_ = -1;
  bool stopped_ = false;
  uint64_t next_timer_ = 0;
  std::unordered_map<int, std::shared_ptr<Handler>> handlers_;
  std::map<TimerId, std::function<void()>> timers_;
  std::function<void()> hook_;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_LOAD_POLLER_H_
