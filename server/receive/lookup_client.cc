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
      Dispatch<ExpandAnswer>(frame,
                             [this](const ExpandAnswer& answer) {
                               open_.Give(answer.question, answer);
                             }) ||
      Dispatch<AuthAnswer>(frame,
                           [this](const AuthAnswer& answer) {
                             open_auth_.Give(answer.question, answer);
                           }) ||
      Dispatch<ListenerTableAnswer>(
          frame, [this](const ListenerTableAnswer& answer) {
            open_tables_.Give(answer.question, answer);
          });
  if (known) return;
  LogWarn("warn: receive: malformed message of type %d from lookup",
          frame.type);
  Lose();
}

void LookupClient::Lose() {
  closed_door_ = std::move(door_);
  open_.GiveAll(TemporaryFailure());
  open_auth_.GiveAll(AuthAnswer{});
  open_tables_.GiveAll(ListenerTableAnswer{});
}

void LookupClient::Expand(ExpandRequest request, Callback done) {
  if (door_ == nullptr) return done(TemporaryFailure());
  request.question = open_.Add(std::move(done));
  door_->Send(request);
}

void LookupClient::Authenticate(AuthStep step, AuthCallback done) {
  if (door_ == nullptr) return done(AuthAnswer{});
  step.question = open_auth_.Add(std::move(done));
  door_->Send(step);
}

void LookupClient::ForgetAuth(uint64_t conversation) {
  if (door_ == nullptr) return;
  AuthForget forget;
  forget.conversation = conversation;
  door_->Send(forget);
}

void LookupClient::AskTable(ListenerTableQuestion question,
                            TableCallback done) {
  if (door_ == nullptr) return done(ListenerTableAnswer{});
  question.question = open_tables_.Add(std::move(done));
  door_->Send(question);
}

}  // namespace holdfast
