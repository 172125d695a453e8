// The raw bytes of one message of a batch, a piece at a time: out of the batch,
// or, where the body is large, asked of `queue`.
#ifndef HOLDFAST_SERVER_DELIVER_BODY_SOURCE_H_
#define HOLDFAST_SERVER_DELIVER_BODY_SOURCE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "server/door/worker_messages.h"
#include "storage/body_codec.h"

namespace holdfast {

// Chunks that one BodyRequest asks for at most.
inline constexpr uint32_t kChunksAsked = 8;

class BodySource {
 public:
  // `message` outlives this.  `ask` sends a BodyRequest for [first, first +
  // count); its answer comes through OnPart().
  BodySource(const BatchMessage& message,
             std::function<void(uint32_t first, uint32_t count)> ask);

  enum class Progress { kMore, kEnd, kWaiting };
  // Appends at most `limit` bytes.  kWaiting: more comes after OnPart().
  // kDataLoss, kUnavailable: the body can't be read.
  absl::StatusOr<Progress> Read(size_t limit, std::string* out);
  void OnPart(BodyPart part);

 private:
  const BatchMessage& message_;
  std::function<void(uint32_t, uint32_t)> ask_;
  BodyDecompressor body_;
  std::deque<std::string> chunks_;  // come, not yet fed
  uint32_t next_ = 0;               // chunk to ask for
  bool needs_chunk_ = false;
  bool asked_ = false;
  bool failed_ = false;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DELIVER_BODY_SOURCE_H_
