#include "server/deliver/body_source.h"

#include <algorithm>
#include <utility>

namespace holdfast {

BodySource::BodySource(const BatchMessage& message,
                       std::function<void(uint32_t first, uint32_t count)> ask)
    : message_(message), ask_(std::move(ask)), body_(message.body) {
  if (!message_.stored.empty() || message_.body.chunks <= 1) {
    chunks_.push_back(message_.stored);
    next_ = 1;
  }
}

absl::StatusOr<BodySource::Progress> BodySource::Read(size_t limit,
                                                      std::string* out) {
  if (!(message_.flags & kFlagBinaryMime)) return ReadStored(limit, out);
  stored_.clear();
  absl::StatusOr<Progress> progress = ReadStored(limit, &stored_);
  text_.Append(stored_, out);
  if (progress.ok() && *progress == Progress::kEnd) text_.Finish(out);
  return progress;
}

absl::StatusOr<BodySource::Progress> BodySource::ReadStored(size_t limit,
                                                            std::string* out) {
  const size_t before = out->size();
  for (;;) {
    if (failed_) return absl::UnavailableError("queue can't read the body");
    if (needs_chunk_) {
      if (chunks_.empty()) {
        if (asked_) return Progress::kWaiting;
        if (next_ >= message_.body.chunks)
          return absl::DataLossError("body has too few chunks");
        const uint32_t count =
            std::min(kChunksAsked, message_.body.chunks - next_);
        asked_ = true;
        ask_(next_, count);
        return Progress::kWaiting;
      }
      body_.Feed(std::move(chunks_.front()));
      chunks_.pop_front();
      needs_chunk_ = false;
    }
    const size_t got = out->size() - before;
    if (got >= limit) return Progress::kMore;
    absl::StatusOr<BodyDecompressor::Progress> progress =
        body_.Read(limit - got, out);
    if (!progress.ok()) return progress.status();
    switch (*progress) {
      case BodyDecompressor::kMore:
        return Progress::kMore;
      case BodyDecompressor::kEnd:
        return Progress::kEnd;
      case BodyDecompressor::kNeedsChunk:
        needs_chunk_ = true;
        break;
    }
  }
}

void BodySource::OnPart(BodyPart part) {
  asked_ = false;
  // More than was asked for, or nothing, is no answer.
  if (!part.ok || part.chunks.empty() ||
      part.chunks.size() > message_.body.chunks - next_) {
    failed_ = true;
    return;
  }
  next_ += static_cast<uint32_t>(part.chunks.size());
  for (std::string& chunk : part.chunks) chunks_.push_back(std::move(chunk));
}

}  // namespace holdfast
