#include "server/agent/blocking_door.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/door/door.h"

namespace holdfast {
namespace {

constexpr size_t kLengthBytes = 4;
constexpr size_t kTypeBytes = 2;
// Behind the type: how many descriptors ride on the frame.  Here always 0.
constexpr size_t kFdCountBytes = 1;
constexpr size_t kHeadBytes = kTypeBytes + kFdCountBytes;
constexpr size_t kReadBytes = 64 << 10;

absl::Status SystemError(const char* call) {
  return absl::UnavailableError(absl::StrCat(call, ": ", strerror(errno)));
}

uint32_t LoadLittleEndian(absl::string_view bytes) {
  uint32_t v = 0;
  for (size_t i = bytes.size(); i-- > 0;)
    v = v << 8 | static_cast<uint8_t>(bytes[i]);
  return v;
}

void AppendLittleEndian(uint32_t v, size_t bytes, std::string* out) {
  for (size_t i = 0; i < bytes; ++i)
    out->push_back(static_cast<char>(v >> (8 * i)));
}

}  // namespace

BlockingDoor::BlockingDoor(int fd) : fd_(fd) {
  // The peer's end is another file description: this touches ours only.
  const int flags = fcntl(fd_, F_GETFL);
  if (flags >= 0) fcntl(fd_, F_SETFL, flags & ~O_NONBLOCK);
}

absl::StatusOr<bool> BlockingDoor::Fill(size_t bytes) {
  // Most agents live for one small message: a page that nothing comes into is
  // not touched.
  char bytes_read[kReadBytes];
  while (in_.size() - used_ < bytes) {
    const ssize_t n = recv(fd_, bytes_read, sizeof bytes_read, 0);
    if (n == 0) return false;
    if (n < 0 && errno != EINTR) return SystemError("recv");
    if (n < 0) continue;
    in_.erase(0, used_);
    used_ = 0;
    in_.append(bytes_read, static_cast<size_t>(n));
  }
  return true;
}

absl::StatusOr<std::optional<BlockingDoor::Frame>> BlockingDoor::Read() {
  absl::StatusOr<bool> more = Fill(kLengthBytes);
  if (!more.ok()) return more.status();
  if (!*more) {
    if (in_.size() == used_) return std::nullopt;
    return absl::DataLossError("half a frame");
  }
  const uint32_t length =
      LoadLittleEndian(absl::string_view(in_).substr(used_, kLengthBytes));
  if (length < kHeadBytes || length > kMaxFrameBytes)
    return absl::DataLossError("frame of impossible length");
  more = Fill(kLengthBytes + length);
  if (!more.ok()) return more.status();
  if (!*more) return absl::DataLossError("half a frame");
  const absl::string_view frame =
      absl::string_view(in_).substr(used_ + kLengthBytes, length);
  used_ += kLengthBytes + length;
  return Frame{
      static_cast<uint16_t>(LoadLittleEndian(frame.substr(0, kTypeBytes))),
      std::string(frame.substr(kHeadBytes))};
}

absl::Status BlockingDoor::SendFrame(uint16_t type, absl::string_view payload) {
  std::string out;
  AppendLittleEndian(static_cast<uint32_t>(kHeadBytes + payload.size()),
                     kLengthBytes, &out);
  AppendLittleEndian(type, kTypeBytes, &out);
  AppendLittleEndian(0, kFdCountBytes, &out);
  out.append(payload.data(), payload.size());
  size_t sent = 0;
  while (sent < out.size()) {
    const ssize_t n =
        send(fd_, out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EINTR) return SystemError("send");
    if (n > 0) sent += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

}  // namespace holdfast
