#include "server/agent/nursery.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_split.h"

namespace holdfast {
namespace {

// Above all that an agent gets.
constexpr int kAside = 50;

struct Request {
  std::vector<std::string> words;
  std::vector<int> fds;
};

void Close(Request* request) {
  for (const int fd : request->fds) close(fd);
  request->fds.clear();
}

// False: there will be none any more.
bool Receive(int socket, Request* request) {
  char bytes[kMaxNurseryRequest];  // of which hardly anything is touched
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxNurseryFds * sizeof(int))];
  iovec piece = {bytes, sizeof bytes};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n;
  do {
    n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  if (n <= 0) return false;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr;
       c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    request->fds.resize((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(request->fds.data(), CMSG_DATA(c),
           request->fds.size() * sizeof(int));
  }
  // Half a command line is none.
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return false;
  if (bytes[n - 1] != '\0') return false;
  request->words = absl::StrSplit(
      absl::string_view(bytes, static_cast<size_t>(n) - 1), '\0');
  return true;
}

// In the child.  False: it can't be what it is to be.
bool Settle(const std::vector<int>& fds) {
  std::vector<int> aside;
  for (const int fd : fds) {
    aside.push_back(fcntl(fd, F_DUPFD_CLOEXEC, kAside));
    if (aside.back() < 0) return false;
  }
  int target = 3;
  for (const int fd : aside) {
    if (dup2(fd, target++) < 0) return false;
  }
  return syscall(SYS_close_range, target, ~0u, 0u) == 0;
}

// A child of our parent's, as if that had started it.
pid_t Fork() {
  return static_cast<pid_t>(syscall(SYS_clone, CLONE_PARENT | SIGCHLD, nullptr,
                                    nullptr, nullptr, nullptr));
}

}  // namespace

int RunNursery(
    int socket,
    const std::function<int(const std::vector<std::string>&)>& agent) {
  const pid_t parent = getppid();
  prctl(PR_SET_NAME, "smtpd-agents");
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0 ||
      getppid() != parent) {
    return 1;
  }
  // From now on it answers at once.
  if (send(socket, &kNurseryHello, sizeof kNurseryHello, MSG_NOSIGNAL) < 0)
    return 1;
  Request request;
  while (Receive(socket, &request)) {
    const pid_t pid = Fork();
    // What ends with the process need not be taken apart first.
    if (pid == 0) _exit(Settle(request.fds) ? agent(request.words) : 1);
    const int32_t answer = pid < 0 ? -errno : pid;
    Close(&request);
    if (send(socket, &answer, sizeof answer, MSG_NOSIGNAL) < 0) return 1;
  }
  return 0;
}

}  // namespace holdfast
