// The text of one message of a batch, a piece at a time: out of the batch, or,
// where the body is large, asked of `queue`.  Lines end with LF, those of a
// BINARYMIME message, too.
#ifndef HOLDFAST_SERVER_DELIVER_BODY_SOURCE_H_
#define HOLDFAST_SERVER_DELIVER_BODY_SOURCE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "protocol/data_encoder.h"
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
  // Appends about `limit` bytes at most.  kWaiting: more comes after OnPart().
  // kDataLoss, kUnavailable: the body can't be read.
  absl::StatusOr<Progress> Read(size_t limit, std::string* out);
  void OnPart(BodyPart part);

 private:
  absl::StatusOr<Progress> ReadStored(size_t limit, std::string* out);

  const BatchMessage& message_;
  std::function<void(uint32_t, uint32_t)> ask_;
  BodyDecompressor body_;
  std::deque<std::string> chunks_;  // come, not yet fed
  uint32_t next_ = 0;               // chunk to ask for
  bool needs_chunk_ = false;
  bool asked_ = false;
  bool failed_ = false;
  BinaryText text_;     // BINARYMIME
  std::string stored_;  // room for a piece of it
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DELIVER_BODY_SOURCE_H_
