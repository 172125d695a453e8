#include "server/receive/incoming_message.h"

#include <utility>

namespace holdfast {
namespace {

// The header is copied once more than the rest, so little is taken at a time
// as long as its end is not in sight.
constexpr size_t kHeaderSlice = 2 << 10;

}  // namespace

IncomingMessage::IncomingMessage(QueueClient* queue, MessageId id,
                                 SessionId session, HeaderOptions headers,
                                 std::string received,
                                 std::function<void()> on_progress)
    : queue_(queue),
      generation_(queue->generation()),
      id_(id),
      session_(session),
      headers_(std::move(headers)),
      on_progress_(std::move(on_progress)),
      text_(std::move(received)) {}

IncomingMessage::~IncomingMessage() {
  if (!submitted_ && has_chunks() && generation_ == queue_->generation())
    queue_->Drop(id_);
}

bool IncomingMessage::CanTake() const {
  return ready_.empty() && open_ < kChunkCredits;
}

uint64_t IncomingMessage::raw_bytes() const {
  if (finished_) return info_.raw_bytes;
  return large_ ? large_->raw_bytes() : text_.size();
}

void IncomingMessage::Take(SmtpServerSession* session, std::string* scratch) {
  if (!headers_.InBody()) {
    std::string header;
    session->ReadMessage(kHeaderSlice, &header);
    scratch->clear();
    headers_.Write(header, large_ ? scratch : &text_);
    Add(*scratch);
  } else if (!large_) {
    // The usual way of a body: decoded to where it stays.
    session->ReadMessage(kMessageSlice, &text_);
    Add({});
  } else {
    scratch->clear();
    session->ReadMessage(kMessageSlice, scratch);
    Add(*scratch);
  }
}

void IncomingMessage::TakeText(absl::string_view text, std::string* scratch) {
  if (headers_.InBody()) return Add(text);
  scratch->clear();
  headers_.Write(text, large_ ? scratch : &text_);
  Add(*scratch);
}

void IncomingMessage::Add(absl::string_view text) {
  if (!large_) {
    text_.append(text.data(), text.size());
    if (text_.size() <= kSmallBodyBytes) return;
    large_.emplace();
    const std::string start = std::exchange(text_, std::string());
    for (std::string& chunk : large_->Write(start))
      ready_.push_back(std::move(chunk));
  } else {
    for (std::string& chunk : large_->Write(text))
      ready_.push_back(std::move(chunk));
  }
  SendChunks();
}

MessageHeaders::Verdict IncomingMessage::Finish(std::string* scratch) {
  scratch->clear();
  headers_.Finish(large_ ? scratch : &text_);
  Add(*scratch);
  const MessageHeaders::Verdict verdict = headers_.verdict();
  if (verdict != MessageHeaders::Verdict::kOk) return verdict;
  finished_ = true;
  if (!large_) {
    SmallBody body = CompressBody(text_);
    std::string().swap(text_);
    info_ = body.info;
    stored_ = std::move(body.stored);
    return verdict;
  }
  CompressedBody body = large_->Finish();
  large_.reset();
  info_ = body.info;
  if (info_.chunks == 1) {
    stored_ = std::move(body.chunks.front());
    return verdict;
  }
  for (std::string& chunk : body.chunks) ready_.push_back(std::move(chunk));
  SendChunks();
  return verdict;
}

void IncomingMessage::SendChunks() {
  while (!ready_.empty() && open_ < kChunkCredits && !failure_) {
    ChunkRequest request;
    request.message = id_;
    request.session = session_;
    request.index = sent_++;
    request.bytes = std::move(ready_.front());
    ready_.pop_front();
    ++open_;
    queue_->StoreChunk(std::move(request),
                       [weak = weak_from_this()](AcceptResult result) {
                         if (auto self = weak.lock())
                           self->OnChunkStored(result);
                       });
  }
}

void IncomingMessage::OnChunkStored(AcceptResult result) {
  --open_;
  if (result != AcceptResult::kOk && !failure_) {
    failure_ = result;
    ready_.clear();
  }
  SendChunks();
  on_progress_();
}

void IncomingMessage::Submit(AcceptRequest* request) {
  submitted_ = true;
  request->message = id_;
  request->body = info_;
  request->stored = std::move(stored_);
}

}  // namespace holdfast
