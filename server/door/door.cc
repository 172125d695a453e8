#include "server/door/door.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <optional>

#include "absl/strings/str_cat.h"

namespace holdfast {

namespace {

// Length (of what follows it), type, number of descriptors.
constexpr size_t kHeaderBytes = 4 + 2 + 1;
constexpr size_t kReadBytes = 256 << 10;
// Descriptors that may ride on one frame; the kernel allows 253.
constexpr size_t kMaxFds = 64;
constexpr size_t kMaxUnclaimedFds = 4 * kMaxFds;

uint32_t LoadLittleEndian32(const char* p) {
  const auto* b = reinterpret_cast<const uint8_t*>(p);
  return b[0] | b[1] << 8 | b[2] << 16 | static_cast<uint32_t>(b[3]) << 24;
}
void StoreLittleEndian32(uint32_t v, char* p) {
  for (int i = 0; i < 4; ++i) p[i] = static_cast<char>(v >> (8 * i));
}

// What both kinds of door do with the frames they send.
class FramingDoor : public Door {
 protected:
  std::string& BeginFrame(uint16_t type) override {
    frame_start_ = out_.size();
    out_.append(kHeaderBytes, '\0');
    out_[frame_start_ + 4] = static_cast<char>(type);
    out_[frame_start_ + 5] = static_cast<char>(type >> 8);
    return out_;
  }
  void EndFrame(std::vector<OwnedFd> fds) override {
    StoreLittleEndian32(static_cast<uint32_t>(out_.size() - frame_start_ - 4),
                        &out_[frame_start_]);
    if (!fds.empty()) {
      fds.resize(std::min(fds.size(), kMaxFds));
      out_[frame_start_ + 6] = static_cast<char>(fds.size());
      fds_.push_back({frame_start_, std::move(fds)});
    }
    FrameAdded();
  }
  virtual void FrameAdded() = 0;

  // Descriptors leave with the first byte of their frame, which is at
  // `offset` of out_.
  struct Riding {
    size_t offset;
    std::vector<OwnedFd> fds;
  };

  std::string out_;  // frames not yet sent
  std::deque<Riding> fds_;

 private:
  size_t frame_start_ = 0;
};

class SocketDoor : public FramingDoor {
 public:
  SocketDoor(EventLoop* loop, OwnedFd fd)
      : loop_(loop),
        fd_(std::move(fd)),
        watch_(loop->WatchDescriptor(
            fd_.get(), [this] { OnReadable(); }, [this] { OnWritable(); })) {}
  ~SocketDoor() override {
    if (destroyed_ != nullptr) *destroyed_ = true;
    *alive_ = false;
    // What was said in this turn still goes, as far as the kernel takes it.
    if (state_ == State::kOpen) Flush();
  }

  void SetCallbacks(absl::AnyInvocable<void(Frame&)> on_frame,
                    absl::AnyInvocable<void(absl::Status)> on_closed) override {
    callbacks_ = std::make_shared<Callbacks>(
        Callbacks{std::move(on_frame), std::move(on_closed)});
    if (!reading_) ResumeReading();
  }
  size_t backlog() const override { return out_.size() - sent_; }
  void WhenBelow(size_t bytes, Task task) override {
    waiting_.push_back({bytes, std::move(task)});
    if (backlog() < bytes) ScheduleFlush();
  }
  void PauseReading() override {
    reading_ = false;
    UpdateWatch();
  }
  void ResumeReading() override {
    reading_ = true;
    UpdateWatch();
    // Frames that were read but not delivered.
    if (!in_.empty() && !delivering_) {
      loop_->AtTurnEnd([this, alive = alive_] {
        if (*alive) Deliver();
      });
    }
  }

 private:
  enum class State { kOpen, kClosed };
  struct Callbacks {
    absl::AnyInvocable<void(Frame&)> on_frame;
    absl::AnyInvocable<void(absl::Status)> on_closed;
  };
  struct Waiting {
    size_t below;
    Task task;
  };

  void FrameAdded() override { ScheduleFlush(); }

  void ScheduleFlush() {
    if (flush_scheduled_ || state_ == State::kClosed) return;
    flush_scheduled_ = true;
    loop_->AtTurnEnd([this, alive = alive_] {
      if (!*alive) return;
      flush_scheduled_ = false;
      Flush();
      RunWaiting();
    });
  }

  // Sends what the kernel takes.
  void Flush() {
    while (backlog() > 0) {
      size_t upto = out_.size();
      std::vector<int> fds;
      if (!fds_.empty()) {
        if (fds_.front().offset == sent_) {
          for (const OwnedFd& fd : fds_.front().fds) fds.push_back(fd.get());
          if (fds_.size() > 1) upto = fds_[1].offset;
        } else {
          upto = fds_.front().offset;
        }
      }
      const ssize_t n = SendSome(upto - sent_, fds);
      if (n < 0) {
        if (errno == EINTR) continue;
        // Anything but "full" is the end of the peer; reading will tell.
        if (errno != EAGAIN) Discard();
        break;
      }
      sent_ += static_cast<size_t>(n);
      if (!fds.empty()) fds_.pop_front();
    }
    Compact();
    UpdateWatch();
  }

  ssize_t SendSome(size_t bytes, const std::vector<int>& fds) {
    iovec piece = {out_.data() + sent_, bytes};
    msghdr message = {};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))] = {};
    if (!fds.empty()) {
      const size_t size = std::min(fds.size(), kMaxFds) * sizeof(int);
      message.msg_control = control;
      message.msg_controllen = CMSG_SPACE(size);
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(size);
      memcpy(CMSG_DATA(header), fds.data(), size);
    }
    return sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  void Discard() {
    out_.clear();
    sent_ = 0;
    fds_.clear();
  }

  void Compact() {
    if (sent_ == out_.size()) {
      out_.clear();
      // A burst must not keep its memory for ever.
      if (out_.capacity() > (1 << 20)) out_.shrink_to_fit();
    } else if (sent_ >= (1 << 20)) {
      out_.erase(0, sent_);
      for (Riding& r : fds_) r.offset -= sent_;
    } else {
      return;
    }
    sent_ = 0;
  }

  void RunWaiting() {
    const std::shared_ptr<bool> alive = alive_;
    while (*alive) {
      auto it = std::find_if(
          waiting_.begin(), waiting_.end(),
          [this](const Waiting& w) { return backlog() < w.below; });
      if (it == waiting_.end()) return;
      Task task = std::move(it->task);
      waiting_.erase(it);
      task();
    }
  }

  void UpdateWatch() {
    if (state_ == State::kOpen) watch_->Want(reading_, backlog() > 0);
  }

  void OnWritable() {
    Flush();
    RunWaiting();
  }

  void OnReadable() {
    // Shared by all doors of the thread; nothing of it is used after this turn.
    // Most frames are small, and most doors of `deliver` see few of them.
    thread_local char bytes[kReadBytes];
    iovec piece = {bytes, kReadBytes};
    alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))];
    msghdr message = {};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t n =
        recvmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const int error = errno;
    if (n > 0) {
      in_.append(bytes, static_cast<size_t>(n));
      TakeDescriptors(message);
      Deliver();
      return;
    }
    if (n < 0 && (error == EAGAIN || error == EINTR)) return;
    Close(n == 0 ? absl::OkStatus() : absl::UnavailableError(strerror(error)));
  }

  void TakeDescriptors(msghdr& message) {
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr;
         c = CMSG_NXTHDR(&message, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      std::vector<int> fds(count);
      memcpy(fds.data(), CMSG_DATA(c), count * sizeof(int));
      for (int fd : fds) received_fds_.emplace_back(fd);
    }
  }

  // Gives out the whole frames in in_.  A frame says how many descriptors are
  // its own; they came with its first byte at the latest, in order.
  void Deliver() {
    if (delivering_) return;
    delivering_ = true;
    bool destroyed = false;
    destroyed_ = &destroyed;
    const std::shared_ptr<Callbacks> callbacks = callbacks_;
    size_t at = 0;
    absl::Status broken;
    while (reading_ && state_ == State::kOpen &&
           in_.size() - at >= kHeaderBytes) {
      const uint32_t length = LoadLittleEndian32(in_.data() + at);
      const size_t fds = static_cast<uint8_t>(in_[at + 6]);
      if (length < kHeaderBytes - 4 || length > kMaxFrameBytes) {
        broken = absl::DataLossError(
            absl::StrCat("frame of ", length, " bytes on a door"));
        break;
      }
      if (in_.size() - at < 4 + length) break;
      if (fds > received_fds_.size()) {
        broken = absl::DataLossError("descriptors are missing on a door");
        break;
      }
      Frame frame;
      frame.type =
          static_cast<uint16_t>(static_cast<uint8_t>(in_[at + 4]) |
                                static_cast<uint8_t>(in_[at + 5]) << 8);
      frame.payload = absl::string_view(in_).substr(at + kHeaderBytes,
                                                    length + 4 - kHeaderBytes);
      for (size_t i = 0; i < fds; ++i) {
        frame.fds.push_back(std::move(received_fds_.front()));
        received_fds_.pop_front();
      }
      at += 4 + length;
      callbacks->on_frame(frame);
      if (destroyed) return;
    }
    in_.erase(0, at);
    if (in_.empty() && in_.capacity() > (1 << 20)) in_.shrink_to_fit();
    delivering_ = false;
    destroyed_ = nullptr;
    if (received_fds_.size() > kMaxUnclaimedFds)
      broken = absl::DataLossError("unclaimed descriptors on a door");
    if (!broken.ok()) Close(std::move(broken));
  }

  void Close(absl::Status status) {
    if (state_ == State::kClosed) return;
    watch_->Want(false, false);
    state_ = State::kClosed;
    Discard();
    const std::shared_ptr<Callbacks> callbacks = callbacks_;
    if (callbacks != nullptr && callbacks->on_closed)
      callbacks->on_closed(std::move(status));  // may destroy us
  }

  EventLoop* loop_;
  OwnedFd fd_;
  // Shared with a callback that runs, which may destroy the door.
  std::shared_ptr<Callbacks> callbacks_;
  State state_ = State::kOpen;
  bool reading_ = false;
  bool delivering_ = false;
  bool flush_scheduled_ = false;
  size_t sent_ = 0;  // of out_
  std::string in_;
  std::deque<OwnedFd> received_fds_;
  std::vector<Waiting> waiting_;
  bool* destroyed_ = nullptr;  // tells Deliver() that a callback dropped us
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for AtTurnEnd
  std::unique_ptr<EventLoop::Watch> watch_;
};

}  // namespace

std::unique_ptr<Door> MakeDoor(EventLoop* loop, OwnedFd fd) {
  return std::make_unique<SocketDoor>(loop, std::move(fd));
}

std::pair<OwnedFd, OwnedFd> MakeDoorSockets() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) <
      0)
    return {};
  // Enough for a batch with its bodies to leave in one call.
  const int bytes = 1 << 20;
  for (int fd : fds) {
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
  return {OwnedFd(fds[0]), OwnedFd(fds[1])};
}

std::pair<std::unique_ptr<Door>, std::unique_ptr<Door>> MakeDoorPair(
    EventLoop* loop) {
  auto [a, b] = MakeDoorSockets();
  return {MakeDoor(loop, std::move(a)), MakeDoor(loop, std::move(b))};
}

}  // namespace holdfast
