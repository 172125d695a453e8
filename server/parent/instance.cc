#include "server/parent/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

constexpr char kListening[] = "control socket already listening";

absl::Status Failed(const std::string& path) {
  return absl::UnavailableError(absl::StrCat(path, ": ", strerror(errno)));
}

absl::StatusOr<OwnedFd> MakeSocket() {
  OwnedFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return absl::UnavailableError(strerror(errno));
  return fd;
}

// A socket's file outlives its process.
bool SomebodyListens(const sockaddr_un& address) {
  absl::StatusOr<OwnedFd> fd = MakeSocket();
  return fd.ok() &&
         (connect(fd->get(), reinterpret_cast<const sockaddr*>(&address),
                  sizeof address) == 0 ||
          errno == EAGAIN);
}

absl::StatusOr<OwnedFd> Listen(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return Failed(path);
  }
  memcpy(address.sun_path, path.data(), path.size());
  if (SomebodyListens(address)) return absl::AlreadyExistsError(kListening);
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return Failed(path);
  absl::StatusOr<OwnedFd> fd = MakeSocket();
  if (!fd.ok()) return fd.status();
  if (bind(fd->get(), reinterpret_cast<const sockaddr*>(&address),
           sizeof address) != 0 ||
      chmod(path.c_str(), 0666) != 0 || listen(fd->get(), SOMAXCONN) != 0)
    return Failed(path);
  return fd;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Instance>> Instance::Begin(
    const SpoolPaths& paths) {
  OwnedFd lock(open(paths.pid_file.c_str(),
                    O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!lock) return Failed(paths.pid_file);
  // Close-on-exec: no room keeps it beyond our own end.
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return absl::AlreadyExistsError(kListening);
    return Failed(paths.pid_file);
  }
  absl::StatusOr<OwnedFd> control = Listen(paths.control_socket);
  if (!control.ok()) return control.status();
  absl::StatusOr<OwnedFd> enqueue = Listen(paths.enqueue_socket);
  if (!enqueue.ok()) return enqueue.status();
  std::unique_ptr<Instance> instance(new Instance(paths));
  instance->pid_file_ = std::move(lock);
  instance->control_ = *std::move(control);
  instance->enqueue_ = *std::move(enqueue);
  return instance;
}

Instance::~Instance() {
  unlink(paths_.control_socket.c_str());
  unlink(paths_.enqueue_socket.c_str());
  unlink(paths_.pid_file.c_str());
}

absl::Status Instance::WritePid() {
  const std::string pid = absl::StrCat(getpid(), "\n");
  if (ftruncate(pid_file_.get(), 0) != 0 ||
      pwrite(pid_file_.get(), pid.data(), pid.size(), 0) !=
          static_cast<ssize_t>(pid.size()))
    return Failed(paths_.pid_file);
  return absl::OkStatus();
}

}  // namespace holdfast
