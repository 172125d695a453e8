#include "server/receive/lookup_client.h"

#include <utility>

#include "server/log/log.h"

namespace holdfast {
namespace {

ExpandAnswer TemporaryFailure() {
  ExpandAnswer answer;
  answer.refusal = "451 Temporary failure";
  return answer;
}

}  // namespace

void LookupClient::SetDoor(std::unique_ptr<Door> door) {
  if (door_ != nullptr) Lose();
  door_ = std::move(door);
  // An old door has nothing to say any more.
  const auto current = [this, generation = ++generation_] {
    return generation == generation_ && door_ != nullptr;
  };
  door_->SetCallbacks(
      [this, current](Frame& frame) {
        if (current()) OnFrame(frame);
      },
      [this, current](absl::Status) {
        if (current()) Lose();
      });
}

void LookupClient::OnFrame(Frame& frame) {
  const bool known =
      Dispatch<ExpandAnswer>(frame, [this](const ExpandAnswer& answer) {
        open_.Give(answer.question, answer);
      });
  if (known) return;
  LogWarn("warn: receive: malformed message of type %d from lookup",
          frame.type);
  Lose();
}

void LookupClient::Lose() {
  closed_door_ = std::move(door_);
  open_.GiveAll(TemporaryFailure());
}

void LookupClient::Expand(ExpandRequest request, Callback done) {
  if (door_ == nullptr) return done(TemporaryFailure());
  request.question = open_.Add(std::move(done));
  door_->Send(request);
}

}  // namespace holdfast
