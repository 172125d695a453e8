#include "server/queue/lookup_door.h"

#include <utility>

#include "server/log/log.h"
#include "server/queue/profile.h"

namespace holdfast {
namespace {

ExpandAnswer Away() {
  ExpandAnswer answer;
  answer.refusal = "451 Temporary failure";
  return answer;
}

ExplainAnswer NobodyToAsk() {
  ExplainAnswer answer;
  answer.ok = false;
  answer.text = "lookup does not answer now";
  return answer;
}

TableUpdated NotUpdated() {
  TableUpdated answer;
  answer.error = "lookup does not answer now";
  return answer;
}

// Gives an answer to who waits for it; ignores what nobody waits for.
template <class Answer, class Waiting>
void Give(Answer& answer, Waiting* waiting) {
  const auto it = waiting->find(answer.question);
  if (it == waiting->end()) return;
  auto done = std::move(it->second);
  waiting->erase(it);
  done(std::move(answer));
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
  for (auto& [question, done] : std::exchange(explaining_, {})) {
    done(NobodyToAsk());
  }
  for (auto& [question, done] : std::exchange(updating_, {})) {
    done(NotUpdated());
  }
  for (auto& [question, done] : std::exchange(asking_, {})) {
    done(TableAnswer());
  }
}

void LookupDoor::OnFrame(Frame& frame) {
  const ProfiledWork work("lookup", frame.type, frame.payload.size());
  const bool understood =
      Dispatch<ExpandAnswer>(
          frame, [this](ExpandAnswer& answer) { Give(answer, &waiting_); }) ||
      Dispatch<ExplainAnswer>(
          frame,
          [this](ExplainAnswer& answer) { Give(answer, &explaining_); }) ||
      Dispatch<TableUpdated>(
          frame, [this](TableUpdated& answer) { Give(answer, &updating_); }) ||
      Dispatch<TableAnswer>(
          frame, [this](TableAnswer& answer) { Give(answer, &asking_); }) ||
      Dispatch<SealKey>(
          frame, [this](SealKey& m) { seals_->AddKey(std::move(m.key)); });
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

void LookupDoor::Explain(ExplainRequest request, ExplainDone done) {
  if (door_ == nullptr) {
    loop_->Post(guard_.Wrap(
        [done = std::move(done)]() mutable { done(NobodyToAsk()); }));
    return;
  }
  request.about.question = ++last_question_;
  explaining_[request.about.question] = std::move(done);
  door_->Send(request);
}

void LookupDoor::UpdateTable(const std::string& name, UpdateDone done) {
  if (door_ == nullptr) {
    loop_->Post(guard_.Wrap(
        [done = std::move(done)]() mutable { done(NotUpdated()); }));
    return;
  }
  holdfast::UpdateTable update;
  update.question = ++last_question_;
  update.name = name;
  updating_[update.question] = std::move(done);
  door_->Send(update);
}

void LookupDoor::AskTable(TableQuestion question, TableDone done) {
  if (door_ == nullptr) {
    loop_->Post(guard_.Wrap(
        [done = std::move(done)]() mutable { done(TableAnswer()); }));
    return;
  }
  question.question = ++last_question_;
  asking_[question.question] = std::move(done);
  door_->Send(question);
}

}  // namespace holdfast
