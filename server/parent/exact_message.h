// How parent understands what rooms say.
#ifndef HOLDFAST_SERVER_PARENT_EXACT_MESSAGE_H_
#define HOLDFAST_SERVER_PARENT_EXACT_MESSAGE_H_

#include <string>

#include "protocol/secret.h"
#include "protocol/wire.h"
#include "server/door/door.h"

namespace holdfast {

// As Dispatch() for one type, but the payload must be what a room of this
// version would have sent: nothing behind it, no number longer than it need be.
// (Elsewhere values may be of a later version, with fields behind ours.)
template <class Message, class Handler>
bool DispatchExact(Frame& frame, Handler&& handler) {
  if (frame.type != Message::kType) return false;
  absl::StatusOr<Message> message = Decode<Message>(frame.payload);
  if (!message.ok()) return false;
  std::string again;
  Encode(*message, &again);
  const bool exact = again == frame.payload;
  Wipe(&again);  // it may be a password
  if (!exact) return false;
  handler(*message);
  return true;
}

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_EXACT_MESSAGE_H_
