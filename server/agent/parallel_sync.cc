#include "server/agent/parallel_sync.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

namespace holdfast {
namespace {

constexpr size_t kThreads = 8;

struct Work {
  const std::vector<int>& fds;
  std::vector<int>& errors;
  std::atomic<size_t> next{0};
};

void* SyncSome(void* argument) {
  Work& work = *static_cast<Work*>(argument);
  size_t i;
  while ((i = work.next.fetch_add(1)) < work.fds.size()) {
    int result;
    do {
      result = fsync(work.fds[i]);
    } while (result != 0 && errno == EINTR);
    work.errors[i] = result == 0 ? 0 : errno;
  }
  return nullptr;
}

}  // namespace

std::vector<int> SyncAll(const std::vector<int>& fds) {
  std::vector<int> errors(fds.size(), EIO);
  Work work{fds, errors};
  // This thread works too, so that a user at the limit of processes (where no
  // thread starts) still gets mail.
  std::vector<pthread_t> threads;
  const size_t wanted = std::min(kThreads, fds.size());
  for (size_t i = 1; i < wanted; ++i) {
    pthread_t thread;
    if (pthread_create(&thread, nullptr, SyncSome, &work) != 0) break;
    threads.push_back(thread);
  }
  SyncSome(&work);
  for (pthread_t thread : threads) pthread_join(thread, nullptr);
  return errors;
}

}  // namespace holdfast
