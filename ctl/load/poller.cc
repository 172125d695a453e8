#include "ctl/load/poller.h"

#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

namespace holdfast {
namespace {

constexpr int kEventsPerRound = 256;
constexpr int64_t kLongestWaitMs = 1000;

void Control(int epoll, int operation, int fd, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (epoll_ctl(epoll, operation, fd, &event) != 0) {
    perror("epoll_ctl");
    abort();  // A descriptor registered twice or never: a bug of ours.
  }
}

}  // namespace

Poller::Poller() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (epoll_ < 0) {
    perror("epoll_create1");
    abort();
  }
}

Poller::~Poller() { close(epoll_); }

void Poller::Add(int fd, uint32_t events, Handler handler) {
  handlers_[fd] = std::make_shared<Handler>(std::move(handler));
  Control(epoll_, EPOLL_CTL_ADD, fd, events);
}

void Poller::Modify(int fd, uint32_t events) {
  Control(epoll_, EPOLL_CTL_MOD, fd, events);
}

void Poller::Remove(int fd) {
  handlers_.erase(fd);
  Control(epoll_, EPOLL_CTL_DEL, fd, 0);
}

Poller::TimerId Poller::After(int64_t delay_ms, std::function<void()> task) {
  TimerId id{NowMs() + delay_ms, next_timer_++};
  timers_.emplace(id, std::move(task));
  return id;
}

void Poller::Cancel(TimerId id) { timers_.erase(id); }

void Poller::Run() {
  stopped_ = false;
  while (!stopped_) Round();
}

void Poller::Round() {
  int64_t wait = kLongestWaitMs;
  if (!timers_.empty()) {
    wait = std::clamp<int64_t>(timers_.begin()->first.first - NowMs(), 0,
                               kLongestWaitMs);
  }
  std::array<epoll_event, kEventsPerRound> events;
  const int count =
      epoll_wait(epoll_, events.data(), events.size(), static_cast<int>(wait));
  for (int i = 0; i < count; ++i) {
    const auto found = handlers_.find(events[i].data.fd);
    if (found == handlers_.end()) continue;  // removed earlier in this round
    // Held here, since the handler may remove itself.
    const std::shared_ptr<Handler> handler = found->second;
    (*handler)(events[i].events);
  }
  RunTimers();
  if (hook_) hook_();
}

void Poller::RunTimers() {
  // Timers set by a timer wait for the next round.
  const TimerId end{NowMs(), next_timer_};
  while (!timers_.empty() && timers_.begin()->first < end) {
    auto node = timers_.extract(timers_.begin());
    node.mapped()();
  }
}

int64_t Poller::NowMs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1000} + now.tv_nsec / 1000000;
}

}  // namespace holdfast
