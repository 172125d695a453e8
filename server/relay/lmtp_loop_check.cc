#include "server/relay/lmtp_loop_check.h"

#include <utility>

#include "server/deliver/delivery_text.h"

namespace holdfast {
namespace {

constexpr size_t kStepBytes = 64 << 10;
constexpr EnhancedStatus kRoutingLoop = {5, 46};

}  // namespace

LmtpLoopCheck::~LmtpLoopCheck() {
  if (question_ != 0) services_->CancelBody(question_);
}

void LmtpLoopCheck::Read() {
  if (reading_) return;
  reading_ = true;
  while (!work_->stopped && message_ < work_->batch.messages.size()) {
    if (!ReadHeader()) {
      reading_ = false;
      return;
    }
    Judge();
    body_.reset();
    text_.clear();
    ++message_;
  }
  reading_ = false;
  done_(this);
}

bool LmtpLoopCheck::ReadHeader() {
  if (body_ == nullptr) {
    body_ = std::make_unique<BodySource>(
        work_->batch.messages[message_],
        [this](uint32_t first, uint32_t count) { Ask(first, count); });
  }
  while (!HeaderIsComplete(text_) && text_.size() < kMaxLmtpLoopHeader) {
    const absl::StatusOr<BodySource::Progress> progress =
        body_->Read(kStepBytes, &text_);
    // The session that is to send it finds out, too.
    if (!progress.ok() || *progress == BodySource::Progress::kEnd) return true;
    if (*progress == BodySource::Progress::kWaiting) return false;
  }
  return true;
}

void LmtpLoopCheck::Judge() {
  const BatchMessage& message = work_->batch.messages[message_];
  for (size_t i = 0; i < message.recipients.size(); ++i) {
    if (!HasDeliveredTo(text_, message.recipients[i].dest)) continue;
    WorkerOutcome outcome;
    outcome.envelope = message.recipients[i].envelope;
    outcome.result = WorkerOutcome::Result::kLoop;
    outcome.status = kRoutingLoop;
    services_->Decide(work_.get(), message_, i, RelayVia(), std::move(outcome));
  }
}

void LmtpLoopCheck::Ask(uint32_t first, uint32_t count) {
  BodyRequest request;
  request.message = work_->batch.messages[message_].message;
  request.first = first;
  request.count = count;
  question_ = services_->AskBody(request, [this](BodyPart part) {
    question_ = 0;
    body_->OnPart(std::move(part));
    Read();
  });
}

}  // namespace holdfast
