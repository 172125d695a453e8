// One smtpd for each spool: its lock, its pid file, its local sockets.
#ifndef HOLDFAST_SERVER_PARENT_INSTANCE_H_
#define HOLDFAST_SERVER_PARENT_INSTANCE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "config/config.h"
#include "server/door/door.h"

namespace holdfast {

// Removes pid file and sockets when dropped.
class Instance {
 public:
  // Locks the pid file and binds the control and the enqueue socket, both
  // 0666.  kAlreadyExists ("control socket already listening") if another
  // instance has them.
  static absl::StatusOr<std::unique_ptr<Instance>> Begin(
      const SpoolPaths& paths);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  // Of this process; after it has become a daemon.
  absl::Status WritePid();

  int control() const { return control_.get(); }  // listening
  int enqueue() const { return enqueue_.get(); }  // listening

 private:
  explicit Instance(SpoolPaths paths) : paths_(std::move(paths)) {}

  const SpoolPaths paths_;
  OwnedFd pid_file_;
  OwnedFd control_, enqueue_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_INSTANCE_H_
