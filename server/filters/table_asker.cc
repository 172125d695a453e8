#include "server/filters/table_asker.h"

#include <utility>

#include "server/log/log.h"

namespace holdfast {
namespace {

absl::StatusOr<bool> ResultOf(const TableAnswer& answer) {
  if (answer.result == TableAnswer::Result::kError)
    return absl::UnavailableError("table error");
  return answer.result == TableAnswer::Result::kFound;
}

absl::Status NotThere() { return absl::UnavailableError("lookup is away"); }

}  // namespace

void TableAsker::SetDoor(std::unique_ptr<Door> door) {
  FailAll();
  door_ = std::move(door);
  door_->SetCallbacks(
      [this](Frame& frame) {
        const bool known = Dispatch<TableAnswer>(frame, [&](TableAnswer& a) {
          auto open = open_.extract(a.question);
          if (open) open.mapped()(ResultOf(a));
        });
        if (!known)
          LogWarn("warn: filters: unexpected message %d from lookup",
                  frame.type);
      },
      [this](absl::Status) {
        FailAll();
        // Not inside its own callback.
        loop_->Post([door = std::move(door_)] {});
      });
}

void TableAsker::Check(const Table& table, TableService service,
                       std::string key, Done done) {
  if (door_ == nullptr || open_.size() >= kMaxTableQuestions) {
    loop_->Post([alive = std::weak_ptr<bool>(alive_),
                 done = std::move(done)]() mutable {
      if (!alive.expired()) done(NotThere());
    });
    return;
  }
  TableQuestion question;
  question.question = ++last_question_;
  question.table = table.name();
  question.service = service;
  question.key = std::move(key);
  open_.emplace(question.question, std::move(done));
  door_->Send(question);
}

void TableAsker::FailAll() {
  for (auto& [question, done] : std::exchange(open_, {})) done(NotThere());
}

}  // namespace holdfast
