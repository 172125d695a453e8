// Names of things in the queue.  Two integers that must not be mixed are two
// types.
#ifndef HOLDFAST_PROTOCOL_IDS_H_
#define HOLDFAST_PROTOCOL_IDS_H_

#include <cstdint>
#include <string>

#include "absl/strings/str_format.h"

namespace holdfast {

// One message (a body with its sender).  Never 0.  Printed as 8 hex digits.
enum class MessageId : uint32_t {};

// One recipient of one message.  The message is the upper half, so that the
// envelopes of a message sort together.  Printed as 16 hex digits.
enum class EnvelopeId : uint64_t {};

// One place mail goes to: (kind, action, routing key).  A row of the queue's
// `destinations` table.
enum class DestinationId : uint32_t {};

// One start of one process; unique in the life of a queue's parent.
enum class WorkerId : uint64_t {};

// One batch handed to a worker; unique with its WorkerId.
enum class BatchId : uint64_t {};

// An SMTP session in or out, as printed in log lines: 16 hex digits.
enum class SessionId : uint64_t {};

constexpr MessageId MessageOf(EnvelopeId id) {
  return MessageId(static_cast<uint64_t>(id) >> 32);
}
constexpr EnvelopeId MakeEnvelopeId(MessageId message, uint32_t low) {
  return EnvelopeId(static_cast<uint64_t>(message) << 32 | low);
}

inline std::string ToString(MessageId id) {
  return absl::StrFormat("%08x", static_cast<uint32_t>(id));
}
inline std::string ToString(EnvelopeId id) {
  return absl::StrFormat("%016x", static_cast<uint64_t>(id));
}
inline std::string ToString(SessionId id) {
  return absl::StrFormat("%016x", static_cast<uint64_t>(id));
}

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_IDS_H_
