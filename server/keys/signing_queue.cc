#include "server/keys/signing_queue.h"

#include <utility>

namespace holdfast {

struct SigningQueue::Pool {
  std::mutex mutex;
  std::condition_variable more;
  std::deque<Job> waiting;
  bool ending = false;

  // A thread's life.
  void Work(EventLoop* loop, const std::weak_ptr<bool>& alive) {
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      more.wait(lock, [this] { return ending || !waiting.empty(); });
      if (ending) return;
      Job job = std::move(waiting.front());
      waiting.pop_front();
      lock.unlock();
      auto result = job.key->Sign(job.algorithm, job.input);
      // `alive` is looked at on the loop's thread only.
      loop->Post([alive, done = std::move(job.done),
                  result = std::move(result)]() mutable {
        if (!alive.expired()) done(std::move(result));
      });
      lock.lock();
    }
  }
};

SigningQueue::SigningQueue(EventLoop* loop, unsigned threads) : loop_(loop) {
  if (threads == 0) return;
  pool_ = std::make_shared<Pool>();
  for (unsigned i = 0; i < threads; ++i) {
    threads_.emplace_back(
        [pool = pool_, loop, alive = std::weak_ptr<bool>(alive_)] {
          pool->Work(loop, alive);
        });
  }
}

SigningQueue::~SigningQueue() {
  if (pool_ == nullptr) return;
  {
    const std::lock_guard<std::mutex> lock(pool_->mutex);
    pool_->ending = true;
  }
  pool_->more.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void SigningQueue::Add(const PrivateKey* key, uint16_t algorithm,
                       std::string input, Done done) {
  Job job{key, algorithm, std::move(input), std::move(done)};
  if (pool_ != nullptr) {
    {
      const std::lock_guard<std::mutex> lock(pool_->mutex);
      pool_->waiting.push_back(std::move(job));
    }
    pool_->more.notify_one();
    return;
  }
  waiting_.push_back(std::move(job));
  if (std::exchange(asked_, true)) return;
  loop_->AtTurnEnd([this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) SignSome();
  });
}

void SigningQueue::SignSome() {
  const std::weak_ptr<bool> alive(alive_);
  for (int i = 0; i < kSignaturesInATurn && !waiting_.empty(); ++i) {
    Job job = std::move(waiting_.front());
    waiting_.pop_front();
    job.done(job.key->Sign(job.algorithm, job.input));
    if (alive.expired()) return;
  }
  asked_ = !waiting_.empty();
  if (!asked_) return;
  loop_->Post([this, alive] {
    if (!alive.expired()) SignSome();
  });
}

}  // namespace holdfast
