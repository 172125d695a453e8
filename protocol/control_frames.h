// Frames of the control socket, cut out of a stream of bytes: 4 bytes length
// (little endian, of what follows), 2 bytes type, fields.  The form of a door's
// frames, with small limits: anybody may connect.
#ifndef HOLDFAST_PROTOCOL_CONTROL_FRAMES_H_
#define HOLDFAST_PROTOCOL_CONTROL_FRAMES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/wire.h"

namespace holdfast {

// A request is a few words; an answer's piece a page of lines.
inline constexpr size_t kMaxControlRequestFrame = 16 << 10;
inline constexpr size_t kMaxControlAnswerFrame = 4 << 20;

struct ControlFrame {
  uint16_t type = 0;
  std::string payload;
};

class ControlFrames {
 public:
  // `limit`: longest frame, without its length.
  explicit ControlFrames(size_t limit) : limit_(limit) {}

  void Append(absl::string_view bytes) {
    buffer_.append(bytes.data(), bytes.size());
  }
  // The next whole frame; nullopt: more bytes are needed.  kDataLoss: too long
  // or too short, and nothing behind it can be read.
  absl::StatusOr<std::optional<ControlFrame>> Next();
  // For what comes next.
  void set_limit(size_t limit) { limit_ = limit; }
  size_t buffered() const { return buffer_.size(); }

 private:
  size_t limit_;
  std::string buffer_;
};

// Frames a payload of `type`.
std::string EncodeControlFrame(uint16_t type, absl::string_view payload);

template <class Message>
std::string EncodeControlFrame(const Message& message) {
  return EncodeControlFrame(Message::kType, Encode(message));
}

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_CONTROL_FRAMES_H_
