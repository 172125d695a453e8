#include "server/tables/background_work.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

namespace holdfast {

struct BackgroundWork::Shared {
  std::mutex mutex;
  std::condition_variable wanted;
  EventLoop* loop = nullptr;  // null: the owner is gone, stop
  std::deque<absl::AnyInvocable<Finish()>> work;

  // On the loop's thread only.
  bool started = false;
  bool gone = false;
  size_t waiting = 0;
};

BackgroundWork::BackgroundWork(EventLoop* loop)
    : shared_(std::make_shared<Shared>()) {
  shared_->loop = loop;
}

BackgroundWork::~BackgroundWork() {
  shared_->gone = true;
  const std::lock_guard<std::mutex> lock(shared_->mutex);
  shared_->loop = nullptr;
  shared_->wanted.notify_one();
}

size_t BackgroundWork::waiting() const { return shared_->waiting; }

void BackgroundWork::Run(absl::AnyInvocable<Finish()> work) {
  ++shared_->waiting;
  if (!shared_->started) {
    shared_->started = true;
    std::thread([shared = shared_] { Work(shared); }).detach();
  }
  const std::lock_guard<std::mutex> lock(shared_->mutex);
  shared_->work.push_back(std::move(work));
  shared_->wanted.notify_one();
}

void BackgroundWork::Work(const std::shared_ptr<Shared>& shared) {
  std::unique_lock<std::mutex> lock(shared->mutex);
  while (true) {
    shared->wanted.wait(
        lock, [&] { return shared->loop == nullptr || !shared->work.empty(); });
    if (shared->loop == nullptr) return;
    absl::AnyInvocable<Finish()> work = std::move(shared->work.front());
    shared->work.pop_front();
    lock.unlock();
    Finish finish = work();
    work = nullptr;
    lock.lock();
    if (shared->loop == nullptr) return;
    shared->loop->Post([shared, finish = std::move(finish)]() mutable {
      if (shared->gone) return;
      --shared->waiting;
      finish();
    });
  }
}

}  // namespace holdfast
