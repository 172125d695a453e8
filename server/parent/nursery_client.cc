#include "server/parent/nursery_client.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "absl/strings/str_cat.h"
#include "server/agent/nursery.h"

namespace holdfast {
namespace {

bool Send(int socket, std::string bytes, const std::vector<OwnedFd>& fds) {
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxNurseryFds * sizeof(int))] = {};
  iovec piece = {&bytes[0], bytes.size()};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  for (size_t i = 0; i < fds.size(); ++i) {
    const int fd = fds[i].get();
    memcpy(CMSG_DATA(header) + i * sizeof fd, &fd, sizeof fd);
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) ==
         static_cast<ssize_t>(bytes.size());
}

}  // namespace

NurserySockets MakeNurserySockets() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
    return {};
  return {OwnedFd(fds[0]), OwnedFd(fds[1])};
}

bool NurserySaidHello(int socket) {
  int32_t hello = 1;
  return recv(socket, &hello, sizeof hello, MSG_DONTWAIT) == sizeof hello &&
         hello == kNurseryHello;
}

absl::StatusOr<pid_t> AskNursery(int socket,
                                 const std::vector<std::string>& words,
                                 const std::vector<OwnedFd>& fds) {
  std::string bytes;
  for (const std::string& word : words) {
    if (word.find('\0') != std::string::npos)
      return absl::UnimplementedError("not a word");
    bytes.append(word.c_str(), word.size() + 1);
  }
  if (bytes.empty() || bytes.size() > kMaxNurseryRequest || fds.empty() ||
      fds.size() > kMaxNurseryFds)
    return absl::UnimplementedError("too much");
  if (!Send(socket, std::move(bytes), fds))
    return absl::UnimplementedError(strerror(errno));
  pollfd wait = {socket, POLLIN, 0};
  int ready;
  do {
    ready = poll(&wait, 1,
                 static_cast<int>(absl::ToInt64Milliseconds(kNurseryPatience)));
  } while (ready < 0 && errno == EINTR);
  int32_t answer = 0;
  if (ready <= 0 ||
      recv(socket, &answer, sizeof answer, MSG_DONTWAIT) != sizeof answer)
    return absl::UnavailableError("the nursery does not answer");
  // Nothing was forked.
  if (answer <= 0)
    return absl::UnimplementedError(absl::StrCat("fork: ", strerror(-answer)));
  return static_cast<pid_t>(answer);
}

}  // namespace holdfast
