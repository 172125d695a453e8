// The control socket: smtpctl's end in the daemon.
//
// Anybody may connect (the socket is 0666); SO_PEERCRED decides: uid 0 and the
// user this process runs as may all, others nothing.  A client that breaks the
// protocol is dropped, and nothing else happens (CVE-2025-62875).
#ifndef HOLDFAST_SERVER_QUEUE_CONTROL_SERVER_H_
#define HOLDFAST_SERVER_QUEUE_CONTROL_SERVER_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>

#include "server/loop/stream.h"
#include "server/queue/act_tokens.h"
#include "server/queue/control_commands_check.h"
#include "server/queue/queue_services.h"

namespace holdfast {

// Used on the loop's thread.
class ControlServer {
 public:
  static constexpr int kMaxConnectionsPerUser = 32;

  // Takes ownership of `listening_fd` (-1: none); `services` outlives it.
  ControlServer(QueueServices* services, int listening_fd,
                QueueChecker checker = CheckQueue);
  ~ControlServer();

  // Serves a connected Unix socket, which it owns now, of a client with these
  // credentials.
  void Serve(int fd, uid_t uid, pid_t pid = 0);

  // Open connections.
  size_t connections() const { return connections_.size(); }

 private:
  class Connection;

  void OnAccept(int fd);
  void Close(uint64_t number);

  QueueServices* const services_;
  const int listening_fd_;
  const QueueChecker checker_;
  const std::shared_ptr<ActTokens> act_tokens_ = std::make_shared<ActTokens>();
  std::unique_ptr<Acceptor> acceptor_;
  uint64_t next_number_ = 1;
  std::map<uint64_t, std::unique_ptr<Connection>> connections_;
  std::map<uid_t, int> per_user_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_CONTROL_SERVER_H_
