#include "server/parent/milter_connector.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <set>
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
  // EAGAIN: a Unix socket whose milter has not accepted those before.  Nobody
  // passes those who wait for that.
  bool full = full_.count(question.filter) != 0;
  if (!full) {
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.bytes),
                address.size) == 0)
      return Answer(door, question.question, "", std::move(fd));
    full = errno == EAGAIN;
    if (!full && errno != EINPROGRESS) return refuse(strerror(errno));
  }
  const uint64_t number = next_++;
  Attempt& attempt = attempts_[number];
  attempt.worker = worker;
  attempt.door = door;
  attempt.question = question.question;
  attempt.filter = question.filter;
  attempt.fd = std::move(fd);
  attempt.address = address.bytes;
  attempt.address_size = address.size;
  attempt.deadline = loop_->RunAfter(kMilterConnectTimeout,
                                     [this, number] { OnDeadline(number); });
  if (full) return WaitForRoom(number);
  attempt.watch = loop_->WatchDescriptor(
      attempt.fd.get(), [] {}, [this, number] { OnConnected(number); });
  attempt.watch->Want(false, true);
}

void MilterConnector::WaitForRoom(uint64_t number) {
  const std::string& filter = attempts_.at(number).filter;
  Backlog& backlog = full_[filter];
  backlog.attempts.insert(number);
  if (backlog.retry == nullptr) RetryLater(filter, &backlog);
}

void MilterConnector::RetryLater(const std::string& filter, Backlog* backlog) {
  backlog->retry =
      loop_->RunAfter(backlog->delay, [this, filter] { Retry(filter); });
}

// `filter` is its own: the timer that names it may go meanwhile.
void MilterConnector::Retry(std::string filter) {
  Backlog& backlog = full_.at(filter);
  backlog.delay = std::min(2 * backlog.delay, kMaxMilterConnectRetry);
  for (const uint64_t number : std::set<uint64_t>(backlog.attempts)) {
    const Attempt& waiting = attempts_.at(number);
    const int result = connect(
        waiting.fd.get(), reinterpret_cast<const sockaddr*>(&waiting.address),
        waiting.address_size);
    const int error = result == 0 ? 0 : errno;
    if (error == EAGAIN) return RetryLater(filter, &backlog);
    backlog.delay = kMilterConnectRetry;
    const bool last = backlog.attempts.size() == 1;
    Attempt attempt = Take(number);
    Answer(attempt.door, attempt.question, error == 0 ? "" : strerror(error),
           std::move(attempt.fd));
    if (last) return;
  }
}

MilterConnector::Attempt MilterConnector::Take(uint64_t number) {
  Attempt attempt = std::move(attempts_.at(number));
  attempts_.erase(number);
  attempt.watch.reset();
  const auto backlog = full_.find(attempt.filter);
  if (backlog == full_.end()) return attempt;
  backlog->second.attempts.erase(number);
  if (backlog->second.attempts.empty()) full_.erase(backlog);
  return attempt;
}

void MilterConnector::OnConnected(uint64_t number) {
  Attempt attempt = Take(number);
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(attempt.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0)
    error = errno;
  Answer(attempt.door, attempt.question, error == 0 ? "" : strerror(error),
         std::move(attempt.fd));
}

void MilterConnector::OnDeadline(uint64_t number) {
  const Attempt attempt = Take(number);
  Answer(attempt.door, attempt.question, strerror(ETIMEDOUT), OwnedFd());
}

void MilterConnector::OnRoomDied(WorkerId worker) {
  std::vector<uint64_t> over;
  for (const auto& [number, attempt] : attempts_) {
    if (attempt.worker == worker) over.push_back(number);
  }
  for (const uint64_t number : over) Take(number);
}

}  // namespace holdfast
