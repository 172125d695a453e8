#include "server/relay/secret_questions.h"

#include <algorithm>
#include <utility>

#include "protocol/secret.h"
#include "server/log/log.h"

namespace holdfast {

absl::Duration AnswerTimeout(const Table* table) {
  if (table == nullptr || !table->is_process()) return kSecretTimeout;
  return std::max(kSecretTimeout, table->care().timeout + kProgramMargin);
}

void SecretQuestions::SetDoor(std::unique_ptr<Door> door) {
  Lose();
  door_ = std::move(door);
  const Door* const raw = door_.get();
  door_->SetCallbacks(
      [this](Frame& frame) {
        if (Dispatch<RelaySecretAnswer, TableAnswer>(
                frame, [this](auto& answer) { On(answer); }))
          return;
        LogWarn("warn: relay: lookup says what is not understood");
        Lose();
      },
      // The old one may say so when there is a new one.
      [this, raw](absl::Status) {
        if (door_.get() == raw) Lose();
      });
  for (const auto& [id, open] : open_) door_->Send(open.question);
  for (const auto& [id, open] : open_tables_) door_->Send(open.question);
}

// Perhaps inside its callback.
void SecretQuestions::Lose() {
  if (door_ == nullptr) return;
  loop_->AtTurnEnd(
      [door = std::shared_ptr<Door>(std::exchange(door_, nullptr))] {});
}

uint64_t SecretQuestions::Ask(const std::string& action,
                              const std::string& label, absl::Duration timeout,
                              Done done) {
  const uint64_t id = ++last_question_;
  Open& open = open_[id];
  open.question = {id, action, label};
  open.done = std::move(done);
  open.timer = loop_->RunAfter(timeout, [this, id] {
    Answer(id, absl::DeadlineExceededError("lookup does not answer"));
  });
  if (door_ != nullptr) door_->Send(open.question);
  return id;
}

uint64_t SecretQuestions::AskTable(TableQuestion question,
                                   absl::Duration timeout, TableDone done) {
  const uint64_t id = ++last_question_;
  OpenTable& open = open_tables_[id];
  question.question = id;
  open.question = std::move(question);
  open.done = std::move(done);
  open.timer = loop_->RunAfter(timeout, [this, id] {
    TableAnswer late;
    late.question = id;
    On(late);
  });
  if (door_ != nullptr) door_->Send(open.question);
  return id;
}

void SecretQuestions::On(const TableAnswer& answer) {
  auto node = open_tables_.extract(answer.question);
  if (!node.empty()) node.mapped().done(answer);
}

void SecretQuestions::On(RelaySecretAnswer& answer) {
  switch (answer.result) {
    case RelaySecretAnswer::Result::kFound:
      Answer(answer.question, ClientCredentials{answer.user, answer.secret});
      break;
    case RelaySecretAnswer::Result::kNotFound:
      Answer(answer.question, absl::NotFoundError("no such label"));
      break;
    default:
      Answer(answer.question, absl::UnavailableError("cannot be looked up"));
  }
  Wipe(&answer.user);
  Wipe(&answer.secret);
}

void SecretQuestions::Answer(uint64_t question,
                             absl::StatusOr<ClientCredentials> answer) {
  auto node = open_.extract(question);
  if (!node.empty()) node.mapped().done(std::move(answer));
}

}  // namespace holdfast
