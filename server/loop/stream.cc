#include "server/loop/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

// One read buffer for all streams of a thread: what is read is consumed, or
// copied by who wants to keep it, before the next read.  Its size bounds what a
// session has to keep of a client that is faster than its answers.
constexpr size_t kReadBytes = 64 << 10;
thread_local std::unique_ptr<char[]> read_buffer;

absl::Status SystemError(int error) {
  return absl::UnavailableError(strerror(error));
}

class FdStream : public Stream {
 public:
  FdStream(EventLoop* loop, int fd) : loop_(loop), fd_(fd) {}
  ~FdStream() override {
    watch_.reset();
    close(fd_);
  }

  void SetCallbacks(Callbacks callbacks) override {
    callbacks_ = std::make_shared<Callbacks>(std::move(callbacks));
  }
  void PauseReading() override {
    reading_ = false;
    UpdateWatch();
  }
  void ResumeReading() override {
    reading_ = true;
    UpdateWatch();
  }

  void Write(absl::string_view bytes) override {
    if (ended_ || bytes.empty()) return;
    if (pending_.empty()) {
      const ssize_t n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
      if (n < 0 && errno != EAGAIN && errno != EINTR) {
        FailLater(errno);
        return;
      }
      if (bytes.empty()) return;
    }
    pending_.append(bytes.data(), bytes.size());
    UpdateWatch();
  }

  size_t backlog() const override { return pending_.size() - sent_; }

  void Shutdown() override {
    if (ended_) return;
    shutting_down_ = true;
    if (pending_.empty()) shutdown(fd_, SHUT_WR);
  }

  std::string LocalAddress() const override {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    char text[INET6_ADDRSTRLEN] = "";
    if (getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) < 0)
      return "";
    if (address.ss_family == AF_INET)
      inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(&address)->sin_addr,
                text, sizeof text);
    if (address.ss_family == AF_INET6)
      inet_ntop(AF_INET6, &reinterpret_cast<sockaddr_in6*>(&address)->sin6_addr,
                text, sizeof text);
    return text;
  }

  uint16_t LocalPort() const override {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) < 0)
      return 0;
    if (address.ss_family == AF_INET)
      return ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port);
    if (address.ss_family == AF_INET6)
      return ntohs(reinterpret_cast<sockaddr_in6*>(&address)->sin6_port);
    return 0;
  }

 private:
  void UpdateWatch() {
    if (ended_) return;
    const bool reading = reading_ && !heard_end_;
    const bool writing = !pending_.empty();
    if (watch_ == nullptr) {
      if (!reading && !writing) return;
      watch_ = loop_->WatchDescriptor(
          fd_, [this] { OnReadable(); }, [this] { OnWritable(); });
    }
    watch_->Want(reading, writing);
  }

  void OnReadable() {
    if (read_buffer == nullptr) read_buffer.reset(new char[kReadBytes]);
    const ssize_t n = recv(fd_, read_buffer.get(), kReadBytes, 0);
    if (n > 0) {
      const std::shared_ptr<Callbacks> callbacks = callbacks_;
      callbacks->on_bytes(
          absl::string_view(read_buffer.get(), static_cast<size_t>(n)));
      return;  // the callback may have destroyed the stream
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) return End(SystemError(errno));
    heard_end_ = true;
    UpdateWatch();
    TellClosed(absl::OkStatus());
  }

  void OnWritable() {
    const ssize_t n = send(fd_, pending_.data() + sent_,
                           pending_.size() - sent_, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno != EAGAIN && errno != EINTR) FailLater(errno);
      return;
    }
    sent_ += static_cast<size_t>(n);
    if (sent_ < pending_.size()) {
      // Give back what was sent of a long backlog, but not at every step.
      if (sent_ > (1 << 20)) {
        pending_.erase(0, sent_);
        sent_ = 0;
      }
      return;
    }
    std::string().swap(pending_);
    sent_ = 0;
    UpdateWatch();
    if (shutting_down_) shutdown(fd_, SHUT_WR);
    const std::shared_ptr<Callbacks> callbacks = callbacks_;
    if (callbacks->on_drained) callbacks->on_drained();
  }

  // A write failed, perhaps inside a call of the owner: tell it in a later
  // turn, after the last words of the peer.  Who refuses a message and closes
  // while it is still being sent has said why.
  void FailLater(int error) {
    ended_ = true;
    watch_.reset();
    failure_ = loop_->RunAfter(absl::ZeroDuration(), [this, error] {
      const std::shared_ptr<Callbacks> callbacks = callbacks_;
      ssize_t n = 0;
      if (reading_) {
        if (read_buffer == nullptr) read_buffer.reset(new char[kReadBytes]);
        n = recv(fd_, read_buffer.get(), kReadBytes, 0);
      }
      // This replaces the very task that runs: nothing of it is used below.
      failure_ = loop_->RunAfter(absl::ZeroDuration(), [this, e = error] {
        TellClosed(SystemError(e));
      });
      if (n > 0)
        callbacks->on_bytes(
            absl::string_view(read_buffer.get(), static_cast<size_t>(n)));
    });
  }

  void End(absl::Status status) {
    ended_ = true;
    watch_->Want(false, false);
    TellClosed(std::move(status));
  }

  void TellClosed(absl::Status status) {
    const std::shared_ptr<Callbacks> callbacks = callbacks_;
    if (callbacks->on_closed) callbacks->on_closed(std::move(status));
  }

  EventLoop* loop_;
  int fd_;
  // Shared with a callback that runs, which may destroy the stream.
  std::shared_ptr<Callbacks> callbacks_ = std::make_shared<Callbacks>();
  std::unique_ptr<EventLoop::Watch> watch_;
  EventLoop::Timer failure_;
  std::string pending_;
  size_t sent_ = 0;  // of pending_
  bool reading_ = false;
  bool heard_end_ = false;  // the peer says nothing more
  bool shutting_down_ = false;
  bool ended_ = false;
};

class Connecting : public EventLoop::Registration {
 public:
  using Done =
      absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<Stream>>)>;

  Connecting(EventLoop* loop, const sockaddr* address, socklen_t length,
             const sockaddr* source, socklen_t source_length,
             absl::Duration timeout, Done done)
      : loop_(loop), done_(std::move(done)) {
    const int error = Begin(address, length, source, source_length);
    if (error != EINPROGRESS) {
      FinishLater(error);
      return;
    }
    timer_ = loop_->RunAfter(timeout, [this] {
      Finish(absl::DeadlineExceededError("Connection timeout"));
    });
    watch_ = loop_->WatchDescriptor(
        fd_, [] {}, [this] { OnWritable(); });
    watch_->Want(false, true);
  }
  ~Connecting() override {
    watch_.reset();
    if (fd_ >= 0) close(fd_);
  }

 private:
  // 0: connected; EINPROGRESS: under way; else what went wrong.
  int Begin(const sockaddr* address, socklen_t length, const sockaddr* source,
            socklen_t source_length) {
    fd_ = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                 0);
    if (fd_ < 0) return errno;
    if (address->sa_family != AF_UNIX) {
      const int on = 1;
      setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      if (source != nullptr && bind(fd_, source, source_length) < 0)
        return errno;
    }
    return connect(fd_, address, length) == 0 ? 0 : errno;
  }

  void OnWritable() {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
    Finish(error);
  }
  void FinishLater(int error) {
    timer_ =
        loop_->RunAfter(absl::ZeroDuration(), [this, error] { Finish(error); });
  }
  void Finish(int error) {
    if (error != 0) return Finish(SystemError(error));
    watch_.reset();
    Finish(MakeStream(loop_, std::exchange(fd_, -1)));
  }
  void Finish(absl::StatusOr<std::unique_ptr<Stream>> result) {
    watch_.reset();
    Done done = std::move(done_);
    done(std::move(result));  // may destroy us
  }

  EventLoop* loop_;
  Done done_;
  int fd_ = -1;
  EventLoop::Timer timer_;
  std::unique_ptr<EventLoop::Watch> watch_;
};

class FdAcceptor : public Acceptor {
 public:
  FdAcceptor(EventLoop* loop, int fd, absl::AnyInvocable<void(int)> on_accept,
             Task on_exhausted)
      : loop_(loop),
        fd_(fd),
        on_accept_(std::make_shared<absl::AnyInvocable<void(int)>>(
            std::move(on_accept))),
        on_exhausted_(std::move(on_exhausted)),
        reserve_(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
        watch_(loop->WatchDescriptor(
            fd, [this] { OnReadable(); }, [] {})) {
    watch_->Want(true, false);
  }
  ~FdAcceptor() override {
    if (destroyed_ != nullptr) *destroyed_ = true;
    if (reserve_ >= 0) close(reserve_);
  }

  void Pause() override {
    paused_ = true;
    watch_->Want(false, false);
  }
  void Resume() override {
    paused_ = false;
    if (resting_ == nullptr) watch_->Want(true, false);
  }

 private:
  // Accepts in a loop, but lets others run after a while.
  static constexpr int kMostInARow = 64;

  void OnReadable() {
    bool destroyed = false;
    destroyed_ = &destroyed;
    const std::shared_ptr<absl::AnyInvocable<void(int)>> on_accept = on_accept_;
    for (int i = 0; i < kMostInARow && !paused_; ++i) {
      const int fd =
          accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        (*on_accept)(fd);
        if (destroyed) return;
        continue;
      }
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
          errno == ENOBUFS)
        Rest();
      // ECONNABORTED and the like concern one connection that is gone.
      if (errno != ECONNABORTED && errno != EINTR) break;
    }
    if (!destroyed) destroyed_ = nullptr;
  }

  // Out of descriptors: gives up the reserve to turn one client away, then
  // waits, so that a full backlog doesn't spin the loop.
  void Rest() {
    if (reserve_ >= 0) {
      close(reserve_);
      const int fd = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd >= 0) close(fd);
      reserve_ = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    watch_->Want(false, false);
    resting_ = loop_->RunAfter(absl::Seconds(1), [this] {
      resting_ = nullptr;
      if (reserve_ < 0)
        reserve_ = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (!paused_) watch_->Want(true, false);
    });
    if (on_exhausted_) on_exhausted_();
    errno = EAGAIN;
  }

  EventLoop* loop_;
  int fd_;
  std::shared_ptr<absl::AnyInvocable<void(int)>> on_accept_;
  Task on_exhausted_;
  int reserve_;
  bool paused_ = false;
  EventLoop::Timer resting_;  // set while out of descriptors
  bool* destroyed_ = nullptr;
  std::unique_ptr<EventLoop::Watch> watch_;
};

}  // namespace

std::unique_ptr<Stream> MakeStream(EventLoop* loop, int fd) {
  const int on = 1;
  // Fails harmlessly on a Unix socket.
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return std::make_unique<FdStream>(loop, fd);
}

PendingConnect Connect(
    EventLoop* loop, const sockaddr* address, socklen_t length,
    const sockaddr* source, socklen_t source_length, absl::Duration timeout,
    absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<Stream>>)> done) {
  return std::make_unique<Connecting>(loop, address, length, source,
                                      source_length, timeout, std::move(done));
}

std::unique_ptr<Acceptor> MakeAcceptor(EventLoop* loop, int listening_fd,
                                       absl::AnyInvocable<void(int)> on_accept,
                                       Task on_exhausted) {
  return std::make_unique<FdAcceptor>(loop, listening_fd, std::move(on_accept),
                                      std::move(on_exhausted));
}

}  // namespace holdfast
