// One message on its way from a client into the queue: header work,
// compression, and for large bodies the chunks that go ahead.
#ifndef HOLDFAST_SERVER_RECEIVE_INCOMING_MESSAGE_H_
#define HOLDFAST_SERVER_RECEIVE_INCOMING_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "protocol/body_info.h"
#include "protocol/ids.h"
#include "protocol/message_headers.h"
#include "protocol/smtp_server_session.h"
#include "server/receive/queue_client.h"
#include "storage/body_codec.h"

namespace holdfast {

// Text is taken from the session in pieces of this size.
inline constexpr size_t kMessageSlice = 64 << 10;

// Holds at most about 64 KiB of text, or the compressor's window and the few
// chunks that one slice makes.  When dropped before Submit(), the queue is told
// to forget what it has.
class IncomingMessage : public std::enable_shared_from_this<IncomingMessage> {
 public:
  // `on_progress` is called when CanTake(), complete() or failure() may have
  // changed.  `received` is our Received header.
  IncomingMessage(QueueClient* queue, MessageId id, SessionId session,
                  HeaderOptions headers, std::string received,
                  std::function<void()> on_progress);
  ~IncomingMessage();

  MessageId id() const { return id_; }

  // Whether there is room for a slice; else chunks wait for the queue.
  bool CanTake() const;
  // The text so far, as it will be stored.
  uint64_t raw_bytes() const;
  // Takes a slice of the message from `session`; `scratch` is overwritten.
  void Take(SmtpServerSession* session, std::string* scratch);
  // The same with text that came back from filters.
  void TakeText(absl::string_view text, std::string* scratch);
  // All was taken: what is wrong with the header, if anything.
  MessageHeaders::Verdict Finish(std::string* scratch);

  // The queue could not keep a chunk.
  std::optional<AcceptResult> failure() const { return failure_; }
  // After Finish(): every chunk is kept.
  bool complete() const { return finished_ && ready_.empty() && open_ == 0; }
  // Moves the body into `request`.  Once, when complete.
  void Submit(AcceptRequest* request);
  // Chunks went ahead: a refused body must be dropped.
  bool has_chunks() const { return sent_ > 0; }

 private:
  void Add(absl::string_view text);
  void SendChunks();
  void OnChunkStored(AcceptResult result);

  QueueClient* queue_;
  const uint64_t generation_;  // of the queue's door
  const MessageId id_;
  const SessionId session_;
  MessageHeaders headers_;
  std::function<void()> on_progress_;

  std::string text_;  // of a small body, so far
  std::optional<BodyCompressor> large_;
  std::deque<std::string> ready_;  // chunks without credit
  uint32_t sent_ = 0;              // chunks
  int open_ = 0;                   // chunks sent and not answered
  bool finished_ = false;
  bool submitted_ = false;
  std::optional<AcceptResult> failure_;
  BodyInfo info_;
  std::string stored_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RECEIVE_INCOMING_MESSAGE_H_
