// Signatures in the order they were asked for, without holding up the loop.
#ifndef HOLDFAST_SERVER_KEYS_SIGNING_QUEUE_H_
#define HOLDFAST_SERVER_KEYS_SIGNING_QUEUE_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "server/keys/private_key.h"
#include "server/loop/event_loop.h"

namespace holdfast {

// An RSA signature takes half a millisecond: without threads so many are made
// in one turn.
inline constexpr int kSignaturesInATurn = 8;

// Used on the loop's thread.  With no threads the loop's own signs, a few at
// each turn's end: on a machine of one or two cores a second thread only adds
// its switches.
class SigningQueue {
 public:
  using Done = absl::AnyInvocable<void(absl::StatusOr<std::string>)>;

  SigningQueue(EventLoop* loop, unsigned threads);
  // What is not yet signed is dropped.
  ~SigningQueue();

  // `key` outlives this.  `done` is called later, on the loop's thread.
  void Add(const PrivateKey* key, uint16_t algorithm, std::string input,
           Done done);

 private:
  struct Job {
    const PrivateKey* key;
    uint16_t algorithm;
    std::string input;
    Done done;
  };
  // Threads and what they have finished.
  struct Pool;

  void SignSome();

  EventLoop* const loop_;
  std::deque<Job> waiting_;  // without threads
  bool asked_ = false;       // SignSome() will come
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::shared_ptr<Pool> pool_;  // null: without threads
  std::vector<std::thread> threads_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_KEYS_SIGNING_QUEUE_H_
