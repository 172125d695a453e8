#include "server/relay/queue_questions.h"

#include <utility>

namespace holdfast {

void QueueQuestions::SetDoor(Door* door) {
  door_ = door;
  slots_.clear();
  bodies_.clear();
}

uint64_t QueueQuestions::AskSlot(SlotRequest request, SlotDone done) {
  request.question = ++last_;
  slots_[request.question] = std::move(done);
  if (door_ != nullptr) door_->Send(request);
  return request.question;
}

uint64_t QueueQuestions::AskBody(BodyRequest request, BodyDone done) {
  request.question = ++last_;
  bodies_[request.question] = std::move(done);
  if (door_ != nullptr) door_->Send(request);
  return request.question;
}

void QueueQuestions::Report(const SlotReport& report) {
  if (report.slot != 0 && door_ != nullptr) door_->Send(report);
}

// What is granted to nobody is given back.
void QueueQuestions::On(const SlotAnswer& answer) {
  auto asked = slots_.extract(answer.question);
  if (!asked.empty()) return asked.mapped()(answer);
  if (answer.result == SlotAnswer::Result::kGranted)
    Report({answer.slot, SlotReport::Event::kClosed, ""});
}

void QueueQuestions::On(BodyPart& part) {
  auto asked = bodies_.extract(part.question);
  if (!asked.empty()) asked.mapped()(std::move(part));
}

}  // namespace holdfast
