#include "server/filters/message_spool.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/owned_fd.h"

namespace holdfast {
namespace {

absl::Status FileError(absl::string_view what, int error) {
  const std::string text = absl::StrCat(what, ": ", strerror(error));
  return error == ENOSPC || error == EDQUOT || error == EFBIG
             ? absl::ResourceExhaustedError(text)
             : absl::UnavailableError(text);
}

// A file in `folder` that is gone when it is closed.
absl::StatusOr<OwnedFd> NamelessFile(const std::string& folder) {
  OwnedFd fd(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd) return fd;
  // A file system without O_TMPFILE.
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)
    return FileError(folder, errno);
  std::string name = absl::StrCat(folder, "/text.XXXXXX");
  fd.Reset(mkostemp(name.data(), O_CLOEXEC));
  if (!fd) return FileError(folder, errno);
  unlink(name.c_str());
  return fd;
}

}  // namespace

struct MessageSpool::File {
  OwnedFd fd;

  absl::Status Write(const std::string& folder, absl::string_view bytes) {
    if (!fd) {
      absl::StatusOr<OwnedFd> made = NamelessFile(folder);
      if (!made.ok()) return made.status();
      fd = *std::move(made);
    }
    while (!bytes.empty()) {
      const ssize_t n = write(fd.get(), bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return FileError("write", errno);
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Read(uint64_t offset, size_t length) {
    std::string bytes(length, '\0');
    size_t have = 0;
    while (have < length) {
      const ssize_t n = pread(fd.get(), bytes.data() + have, length - have,
                              static_cast<off_t>(offset + have));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return FileError("read", errno);
      if (n == 0) return absl::UnavailableError("read: the file is cut");
      have += static_cast<size_t>(n);
    }
    return bytes;
  }
};

MessageSpool::MessageSpool(BackgroundWork* background, std::string folder,
                           std::function<void()> on_progress)
    : background_(background),
      folder_(std::move(folder)),
      on_progress_(std::move(on_progress)) {}

MessageSpool::~MessageSpool() {
  *alive_ = false;
  if (file_ == nullptr) return;
  // Closing gives the file's blocks back, which takes time.
  background_->Run([file = std::move(file_)]() mutable {
    file.reset();
    return [] {};
  });
}

void MessageSpool::Append(absl::string_view bytes) {
  size_ += bytes.size();
  if (!status_.ok() || bytes.empty()) return;
  if (file_ == nullptr && memory_.size() + bytes.size() <= kSpoolMemory) {
    absl::StrAppend(&memory_, bytes);
    return;
  }
  if (file_ == nullptr) {
    file_ = std::make_shared<File>();
    pending_ = std::exchange(memory_, std::string());
  }
  absl::StrAppend(&pending_, bytes);
  if (writing_ == 0) StartWrite();
}

void MessageSpool::StartWrite() {
  writing_ = pending_.size();
  background_->Run([this, alive = alive_, file = file_, folder = folder_,
                    bytes = std::exchange(pending_, std::string())]() mutable {
    absl::Status status = file->Write(folder, bytes);
    return [this, alive = std::move(alive), status = std::move(status)] {
      if (!*alive) return;
      writing_ = 0;
      if (!status.ok()) {
        status_ = status;
        pending_.clear();
      } else if (!pending_.empty()) {
        return StartWrite();
      }
      on_progress_();
    };
  });
}

void MessageSpool::Read(size_t max, Done done) {
  if (!status_.ok()) return done(status_);
  const size_t length = std::min<uint64_t>(max, size_ - read_);
  const uint64_t offset = std::exchange(read_, read_ + length);
  if (length == 0 || file_ == nullptr)
    return done(
        memory_.substr(std::min<uint64_t>(offset, memory_.size()), length));
  background_->Run([alive = alive_, file = file_, offset, length,
                    done = std::move(done)]() mutable {
    absl::StatusOr<std::string> bytes = file->Read(offset, length);
    return [alive = std::move(alive), done = std::move(done),
            bytes = std::move(bytes)]() mutable {
      if (*alive) done(std::move(bytes));
    };
  });
}

}  // namespace holdfast
