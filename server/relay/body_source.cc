#include "server/relay/body_source.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace holdfast {

BodySource::BodySource(const BatchMessage& message, Ask ask)
    : message_(message), ask_(std::move(ask)), expanding_(message.body) {
  if (message.body.chunks != 1) return;
  chunks_.push_back(message.stored);
  received_ = 1;
}

absl::StatusOr<BodySource::Progress> BodySource::Read(size_t limit,
                                                      std::string* out) {
  while (true) {
    if (!failure_.ok()) return failure_;
    const size_t before = out->size();
    const absl::StatusOr<BodyDecompressor::Progress> state =
        expanding_.Read(limit, out);
    if (!state.ok()) return state.status();
    if (*state == BodyDecompressor::kEnd) return Progress::kEnd;
    if (*state == BodyDecompressor::kMore) return Progress::kMore;
    if (chunks_.empty()) {
      AskForMore();
      return Progress::kWaiting;
    }
    expanding_.Feed(std::move(chunks_.front()));
    chunks_.pop_front();
    if (out->size() - before >= limit) return Progress::kMore;
    limit -= out->size() - before;
  }
}

void BodySource::AskForMore() {
  if (std::exchange(waiting_, true)) return;
  ask_(received_, std::min(message_.body.chunks - received_, kBodyCredit));
}

void BodySource::OnPart(BodyPart part) {
  waiting_ = false;
  const size_t most = std::min(message_.body.chunks - received_, kBodyCredit);
  if (!part.ok || part.chunks.empty() || part.chunks.size() > most) {
    failure_ = absl::UnavailableError("the body can't be read");
    return;
  }
  received_ += static_cast<uint32_t>(part.chunks.size());
  std::move(part.chunks.begin(), part.chunks.end(),
            std::back_inserter(chunks_));
}

}  // namespace holdfast
