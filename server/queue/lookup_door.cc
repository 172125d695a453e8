#include "server/queue/lookup_door.h"

#include <utility>

#include "server/log/log.h"

namespace holdfast {
namespace {

ExpandAnswer Away() {
  ExpandAnswer answer;
  answer.refusal = "451 Temporary failure";
  return answer;
}

}  // namespace

void LookupDoor::SetDoor(std::unique_ptr<Door> door) {
  if (door_ != nullptr) OnClosed();
  door_ = std::move(door);
  door_->SetCallbacks([this](Frame& frame) { OnFrame(frame); },
                      [this](absl::Status) { OnClosed(); });
}

void LookupDoor::OnClosed() {
  const std::unique_ptr<Door> door = std::move(door_);
  for (auto& [question, done] : std::exchange(waiting_, {})) done(Away());
}

void LookupDoor::OnFrame(Frame& frame) {
  const bool understood =
      Dispatch<ExpandAnswer>(frame, [this](ExpandAnswer& answer) {
        const auto it = waiting_.find(answer.question);
        if (it == waiting_.end()) return;
        Done done = std::move(it->second);
        waiting_.erase(it);
        done(std::move(answer));
      });
  if (understood) return;
  LogWarn("warn: queue: door to lookup: malformed frame");
  OnClosed();
}

void LookupDoor::Expand(ExpandRequest request, Done done) {
  if (door_ == nullptr) {
    loop_->Post(
        guard_.Wrap([done = std::move(done)]() mutable { done(Away()); }));
    return;
  }
  request.question = ++last_question_;
  waiting_[request.question] = std::move(done);
  door_->Send(request);
}

}  // namespace holdfast
