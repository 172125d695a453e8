// The text of a stored message, piece by piece, expanded as it is read.
#ifndef HOLDFAST_SERVER_RELAY_BODY_SOURCE_H_
#define HOLDFAST_SERVER_RELAY_BODY_SOURCE_H_

#include <cstdint>
#include <deque>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "server/door/worker_messages.h"
#include "storage/body_codec.h"

namespace holdfast {

// So many chunks are asked for at a time: the credit of the door.
inline constexpr uint32_t kBodyCredit = 8;

class BodySource {
 public:
  // Asks for chunks [first, first + count); the answer goes to OnPart().
  using Ask = absl::AnyInvocable<void(uint32_t first, uint32_t count)>;

  // `message` outlives this.
  BodySource(const BatchMessage& message, Ask ask);

  enum class Progress : uint8_t {
    kMore,     // there is more: read on
    kWaiting,  // chunks were asked for: read on after OnPart()
    kEnd,      // all was given, and it was right
  };
  // Appends `limit` bytes at most.  An error says that the body can't be read;
  // what was given is not to be used.
  absl::StatusOr<Progress> Read(size_t limit, std::string* out);

  void OnPart(BodyPart part);

 private:
  void AskForMore();

  const BatchMessage& message_;
  Ask ask_;
  BodyDecompressor expanding_;
  std::deque<std::string> chunks_;  // came, not yet read; at most kBodyCredit
  uint32_t received_ = 0;
  bool waiting_ = false;
  absl::Status failure_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_BODY_SOURCE_H_
