#include "server/parent/userbase_asker.h"

#include <optional>
#include <string>
#include <utility>

namespace holdfast {

void UserbaseAsker::OnLookupReady(WorkerId worker, Door* door) {
  worker_ = worker;
  door_ = door;
}

void UserbaseAsker::OnLookupDied(WorkerId worker) {
  if (door_ == nullptr || worker != worker_) return;
  door_ = nullptr;
  for (auto& [question, open] : open_) {
    open.timer = loop_->RunAfter(absl::ZeroDuration(),
                                 [this, id = question] { Fail(id); });
  }
}

void UserbaseAsker::Fail(uint64_t question) {
  auto node = open_.extract(question);
  node.mapped().done(absl::UnavailableError("lookup does not answer"));
}

void UserbaseAsker::OnAnswer(const TableAnswer& answer) {
  auto node = open_.extract(answer.question);
  if (node.empty()) return;
  switch (answer.result) {
    case TableAnswer::Result::kFound:
      return node.mapped().done(std::optional<std::string>(answer.value));
    case TableAnswer::Result::kNotFound:
      return node.mapped().done(std::optional<std::string>());
    default:
      return node.mapped().done(absl::UnavailableError("error"));
  }
}

void UserbaseAsker::Ask(const TableQuery& query, Done done) {
  const uint64_t id = ++last_question_;
  Open& open = open_[id];
  open.done = std::move(done);
  open.timer = loop_->RunAfter(
      door_ == nullptr ? absl::ZeroDuration() : kUserbaseTimeout,
      [this, id] { Fail(id); });
  if (door_ == nullptr) return;
  TableQuestion question;
  question.question = id;
  question.table = query.table;
  question.op = query.op == TableOp::kCheck    ? TableQuestion::Op::kCheck
                : query.op == TableOp::kLookup ? TableQuestion::Op::kLookup
                                               : TableQuestion::Op::kFetch;
  question.service = query.service;
  question.key = query.key;
  door_->Send(question);
}

}  // namespace holdfast
