#include "server/parent/milter_connector.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <utility>
#include <vector>

#include "config/milter_socket.h"
#include "protocol/vis.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

// Of an answer on its way: the head of its frame.
constexpr size_t kFewestAnswerBytes = 8;

struct Address {
  sockaddr_storage bytes = {};
  socklen_t size = 0;
};

template <class T>
T* As(Address* address) {
  address->size = sizeof(T);
  return reinterpret_cast<T*>(&address->bytes);
}

// The parser has seen that it is one.
Address AddressOf(const MilterSocket& socket) {
  Address address;
  if (!socket.path.empty()) {
    auto* const local = As<sockaddr_un>(&address);
    local->sun_family = AF_UNIX;
    socket.path.copy(local->sun_path, sizeof local->sun_path - 1);
  } else if (socket.inet6) {
    auto* const inet6 = As<sockaddr_in6>(&address);
    inet6->sin6_family = AF_INET6;
    inet6->sin6_port = htons(socket.port);
    inet_pton(AF_INET6, socket.address.c_str(), &inet6->sin6_addr);
  } else {
    auto* const inet = As<sockaddr_in>(&address);
    inet->sin_family = AF_INET;
    inet->sin_port = htons(socket.port);
    inet_pton(AF_INET, socket.address.c_str(), &inet->sin_addr);
  }
  return address;
}

void Answer(Door* door, uint64_t question, const std::string& error,
            OwnedFd fd) {
  MilterConnected answer;
  answer.question = question;
  answer.ok = error.empty();
  answer.error = error;
  std::vector<OwnedFd> fds;
  if (answer.ok) fds.push_back(std::move(fd));
  door->Send(answer, std::move(fds));
}

}  // namespace

void MilterConnector::OnQuestion(WorkerId worker, Door* door,
                                 const MilterConnect& question) {
  const auto refuse = [&](const std::string& error) {
    Answer(door, question.question, error, OwnedFd());
  };
  const auto it = config_->filters.find(question.filter);
  if (it == config_->filters.end() ||
      it->second.kind != Filter::Kind::kMilter) {
    LogWarn("warn: filters: no such milter: \"%s\"",
            VisEncode(question.filter));
    return refuse("no such milter");
  }
  const absl::StatusOr<MilterSocket> where =
      ParseMilterSocket(it->second.milter);
  if (!where.ok()) return refuse(std::string(where.status().message()));
  // Answers that are not taken keep their descriptors open here.
  if (attempts_.size() + door->backlog() / kFewestAnswerBytes >=
      kMaxMilterConnects)
    return refuse("too many connections at once");
  const Address address = AddressOf(*where);
  OwnedFd fd(socket(address.bytes.ss_family,
                    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return refuse(strerror(errno));
  const int on = 1;
  if (where->path.empty())
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.bytes),
              address.size) == 0)
    return Answer(door, question.question, "", std::move(fd));
  // EAGAIN: a Unix socket whose milter has not accepted those before.
  const bool full = errno == EAGAIN;
  if (!full && errno != EINPROGRESS) return refuse(strerror(errno));
  const uint64_t number = next_++;
  Attempt& attempt = attempts_[number];
  attempt.worker = worker;
  attempt.door = door;
  attempt.question = question.question;
  attempt.fd = std::move(fd);
  attempt.address = address.bytes;
  attempt.address_size = address.size;
  attempt.deadline = loop_->RunAfter(kMilterConnectTimeout,
                                     [this, number] { OnDeadline(number); });
  if (full) return RetryLater(number);
  attempt.watch = loop_->WatchDescriptor(
      attempt.fd.get(), [] {}, [this, number] { OnConnected(number); });
  attempt.watch->Want(false, true);
}

void MilterConnector::RetryLater(uint64_t number) {
  attempts_.at(number).retry =
      loop_->RunAfter(kMilterConnectRetry, [this, number] { Retry(number); });
}

void MilterConnector::Retry(uint64_t number) {
  Attempt& waiting = attempts_.at(number);
  const int result = connect(
      waiting.fd.get(), reinterpret_cast<const sockaddr*>(&waiting.address),
      waiting.address_size);
  if (result != 0 && errno == EAGAIN) return RetryLater(number);
  const int error = result == 0 ? 0 : errno;
  Attempt attempt = std::move(waiting);
  attempts_.erase(number);
  Answer(attempt.door, attempt.question, error == 0 ? "" : strerror(error),
         std::move(attempt.fd));
}

void MilterConnector::OnConnected(uint64_t number) {
  Attempt attempt = std::move(attempts_.at(number));
  attempts_.erase(number);
  attempt.watch.reset();
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(attempt.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0)
    error = errno;
  Answer(attempt.door, attempt.question, error == 0 ? "" : strerror(error),
         std::move(attempt.fd));
}

void MilterConnector::OnDeadline(uint64_t number) {
  Attempt attempt = std::move(attempts_.at(number));
  attempts_.erase(number);
  attempt.watch.reset();
  Answer(attempt.door, attempt.question, strerror(ETIMEDOUT), OwnedFd());
}

void MilterConnector::OnRoomDied(WorkerId worker) {
  for (auto it = attempts_.begin(); it != attempts_.end();) {
    if (it->second.worker != worker) {
      ++it;
      continue;
    }
    it->second.watch.reset();
    it = attempts_.erase(it);
  }
}

}  // namespace holdfast
