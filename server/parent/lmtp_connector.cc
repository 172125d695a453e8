#include "server/parent/lmtp_connector.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <optional>
#include <vector>

#include "config/delivery_way.h"
#include "protocol/vis.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

// Of an answer on its way: the head of its frame.
constexpr size_t kFewestAnswerBytes = 8;

absl::Status SystemError() { return absl::UnavailableError(strerror(errno)); }

}  // namespace

absl::StatusOr<OwnedFd> LmtpConnector::ConnectFor(
    const std::string& action) const {
  const absl::Status refused =
      absl::PermissionDeniedError("no Unix socket of an lmtp action");
  const auto it = config_->actions.find(action);
  if (it == config_->actions.end() || WayOf(it->second) != DeliveryWay::kLmtp)
    return refused;
  const std::string path = ParseLmtpDestination(it->second.lmtp)->path;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return refused;
  memcpy(address.sun_path, path.data(), path.size());
  OwnedFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return SystemError();
  // EAGAIN: the server has not accepted those before; as good as refused.
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address),
              sizeof address) != 0)
    return SystemError();
  return fd;
}

void LmtpConnector::OnQuestion(Door* door, const LmtpConnect& question) const {
  LmtpConnected answer;
  answer.question = question.question;
  std::vector<OwnedFd> fds;
  absl::StatusOr<OwnedFd> fd =
      absl::UnavailableError("too many connections at once");
  if (door->backlog() / kFewestAnswerBytes < kMaxLmtpAnswers)
    fd = ConnectFor(question.action);
  if (fd.ok()) {
    answer.ok = true;
    fds.push_back(*std::move(fd));
  } else {
    answer.error = std::string(fd.status().message());
  }
  if (absl::IsPermissionDenied(fd.status()))
    LogWarn("warn: relay: %s: \"%s\"", answer.error,
            VisEncode(question.action));
  door->Send(answer, std::move(fds));
}

}  // namespace holdfast
