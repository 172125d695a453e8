#include "server/lookup/include_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "protocol/vis.h"
#include "server/door/door.h"

namespace holdfast {
namespace {

absl::Status NotOpened(const std::string& path) {
  return absl::NotFoundError(absl::StrFormat(
      "warn: failed to open include file \"%s\".", VisEncode(path)));
}

absl::Status Exhausted(const std::string& path, const char* why) {
  return absl::ResourceExhaustedError(
      absl::StrFormat("warn: include file \"%s\": %s", VisEncode(path), why));
}

}  // namespace

absl::StatusOr<std::string> ReadIncludeFile(const std::string& path) {
  const OwnedFd fd(
      open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  struct stat info;
  if (!fd || fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return NotOpened(path);
  }
  std::string contents;
  char buffer[16384];
  while (true) {
    const ssize_t got = read(fd.get(), buffer, sizeof buffer);
    if (got == 0) return contents;
    if (got < 0) {
      if (errno == EINTR) continue;
      return Exhausted(path, "read error");
    }
    contents.append(buffer, static_cast<size_t>(got));
    if (contents.size() > kMaxIncludeBytes) {
      return Exhausted(path, "too large");
    }
  }
}

// What both threads see.
struct IncludeReader::Shared {
  std::mutex mutex;
  std::condition_variable wanted;
  EventLoop* loop = nullptr;  // null: the reader is gone, stop
  std::deque<std::pair<uint64_t, std::string>> paths;

  // On the loop's thread only.
  bool started = false;
  uint64_t last = 0;
  std::map<uint64_t, Callback> callbacks;
};

IncludeReader::IncludeReader(EventLoop* loop)
    : loop_(loop), shared_(std::make_shared<Shared>()) {
  shared_->loop = loop;
}

IncludeReader::~IncludeReader() {
  const std::lock_guard<std::mutex> lock(shared_->mutex);
  shared_->loop = nullptr;
  shared_->callbacks.clear();
  shared_->wanted.notify_one();
}

void IncludeReader::Read(const std::string& path, Callback done) {
  const uint64_t id = ++shared_->last;
  const bool full = shared_->callbacks.size() >= kMaxWaitingIncludes;
  shared_->callbacks.emplace(id, std::move(done));
  if (full) {
    loop_->Post([shared = shared_, id, path] {
      const auto found = shared->callbacks.find(id);
      if (found == shared->callbacks.end()) return;
      Callback callback = std::move(found->second);
      shared->callbacks.erase(found);
      callback(Exhausted(path, "too many at once"));
    });
    return;
  }
  if (!shared_->started) {
    shared_->started = true;
    std::thread([shared = shared_] { Work(shared); }).detach();
  }
  const std::lock_guard<std::mutex> lock(shared_->mutex);
  shared_->paths.emplace_back(id, path);
  shared_->wanted.notify_one();
}

void IncludeReader::Work(const std::shared_ptr<Shared>& shared) {
  std::unique_lock<std::mutex> lock(shared->mutex);
  while (true) {
    shared->wanted.wait(lock, [&] {
      return shared->loop == nullptr || !shared->paths.empty();
    });
    if (shared->loop == nullptr) return;
    const auto [id, path] = std::move(shared->paths.front());
    shared->paths.pop_front();
    lock.unlock();
    absl::StatusOr<std::string> contents = ReadIncludeFile(path);
    lock.lock();
    if (shared->loop == nullptr) return;
    shared->loop->Post(
        [shared, id = id, contents = std::move(contents)]() mutable {
          const auto found = shared->callbacks.find(id);
          if (found == shared->callbacks.end()) return;
          Callback callback = std::move(found->second);
          shared->callbacks.erase(found);
          callback(std::move(contents));
        });
  }
}

}  // namespace holdfast
