#include "protocol/control_frames.h"

namespace holdfast {
namespace {

constexpr size_t kLengthBytes = 4;
constexpr size_t kTypeBytes = 2;

uint32_t LittleEndian(absl::string_view bytes, size_t count) {
  uint32_t n = 0;
  for (size_t i = 0; i < count; ++i)
    n |= static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])) << (8 * i);
  return n;
}

void PutLittleEndian(uint32_t n, size_t count, std::string* out) {
  for (size_t i = 0; i < count; ++i)
    out->push_back(static_cast<char>(n >> (8 * i)));
}

}  // namespace

absl::StatusOr<std::optional<ControlFrame>> ControlFrames::Next() {
  if (buffer_.size() < kLengthBytes) return std::nullopt;
  const size_t length = LittleEndian(buffer_, kLengthBytes);
  if (length < kTypeBytes || length > limit_)
    return absl::DataLossError("bad length of a frame");
  if (buffer_.size() < kLengthBytes + length) return std::nullopt;
  ControlFrame frame;
  frame.type = static_cast<uint16_t>(LittleEndian(
      absl::string_view(buffer_).substr(kLengthBytes), kTypeBytes));
  frame.payload =
      buffer_.substr(kLengthBytes + kTypeBytes, length - kTypeBytes);
  buffer_.erase(0, kLengthBytes + length);
  return frame;
}

std::string EncodeControlFrame(uint16_t type, absl::string_view payload) {
  std::string out;
  PutLittleEndian(static_cast<uint32_t>(payload.size() + kTypeBytes),
                  kLengthBytes, &out);
  PutLittleEndian(type, kTypeBytes, &out);
  out.append(payload.data(), payload.size());
  return out;
}

}  // namespace holdfast
