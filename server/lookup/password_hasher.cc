#include "server/lookup/password_hasher.h"

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "protocol/scram.h"
#include "server/auth/crypt_password.h"
#include "storage/crypto/key_derivation.h"

namespace holdfast {
namespace {

class HashingThreads : public PasswordHasher {
 public:
  HashingThreads(EventLoop* loop, size_t threads)
      : loop_(loop), threads_(threads), shared_(std::make_shared<Shared>()) {
    shared_->loop = loop;
  }

  ~HashingThreads() override {
    const std::lock_guard<std::mutex> lock(shared_->mutex);
    shared_->loop = nullptr;
    shared_->jobs.clear();
    shared_->callbacks.clear();
    shared_->wanted.notify_all();
  }

  void Check(Secret password, std::string stored, Done done) override {
    const uint64_t id = ++shared_->last;
    shared_->callbacks.emplace(id, std::move(done));
    // One that waits for an idle thread has as good as begun.
    if (shared_->callbacks.size() > kMaxWaitingPasswords + threads_) {
      loop_->Post([shared = shared_, id] {
        Answer(shared.get(), id, Result::kTooMany);
      });
      return;
    }
    if (started_ < threads_ && shared_->callbacks.size() > started_) {
      ++started_;
      std::thread([shared = shared_] { Work(shared); }).detach();
    }
    const std::lock_guard<std::mutex> lock(shared_->mutex);
    shared_->jobs.push_back({id, std::move(password), std::move(stored)});
    shared_->wanted.notify_one();
  }

 private:
  struct Job {
    uint64_t id = 0;
    Secret password;
    std::string stored;
  };
  // What all threads see.
  struct Shared {
    std::mutex mutex;
    std::condition_variable wanted;
    EventLoop* loop = nullptr;  // null: the owner is gone, stop
    std::deque<Job> jobs;

    // On the loop's thread only.
    uint64_t last = 0;
    std::map<uint64_t, Done> callbacks;
  };

  static void Answer(Shared* shared, uint64_t id, Result result) {
    const auto found = shared->callbacks.find(id);
    if (found == shared->callbacks.end()) return;
    Done done = std::move(found->second);
    shared->callbacks.erase(found);
    done(result);
  }

  static void Work(const std::shared_ptr<Shared>& shared) {
    std::unique_lock<std::mutex> lock(shared->mutex);
    while (true) {
      shared->wanted.wait(lock, [&] {
        return shared->loop == nullptr || !shared->jobs.empty();
      });
      if (shared->loop == nullptr) return;
      const Job job = std::move(shared->jobs.front());
      shared->jobs.pop_front();
      lock.unlock();
      const bool fits = PasswordFits(job.password.text(), job.stored);
      lock.lock();
      if (shared->loop == nullptr) return;
      shared->loop->Post([shared, id = job.id, fits] {
        Answer(shared.get(), id, fits ? Result::kFits : Result::kDoesNotFit);
      });
    }
  }

  EventLoop* const loop_;
  const size_t threads_;
  size_t started_ = 0;
  std::shared_ptr<Shared> shared_;
};

}  // namespace

bool PasswordFits(const std::string& password, const std::string& stored) {
  if (!LooksLikeScramVerifier(stored)) {
    return CryptPasswordFits(password, stored);
  }
  const std::optional<ScramVerifier> verifier = ParseScramVerifier(stored);
  return verifier && ScramPasswordFits(kScramHash, password, *verifier);
}

std::unique_ptr<PasswordHasher> MakePasswordHasher(EventLoop* loop,
                                                   size_t threads) {
  if (threads == 0) {
    threads = std::max<size_t>(1, std::thread::hardware_concurrency());
  }
  return std::make_unique<HashingThreads>(loop, threads);
}

}  // namespace holdfast
