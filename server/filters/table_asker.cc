#include "server/filters/table_asker.h"

#include <utility>

#include "server/log/log.h"

namespace holdfast {
namespace {

absl::StatusOr<bool> ResultOf(const TableAnswer& answer) {
  switch (answer.result) {
    case TableAnswer::Result::kFound:
      return true;
    case TableAnswer::Result::kNotFound:
      return false;
    case TableAnswer::Result::kNotOffered:
      return absl::UnimplementedError("not offered");
    default:
      return absl::UnavailableError("table error");
  }
}

absl::Status NotThere() { return absl::UnavailableError("lookup is away"); }

}  // namespace

void TableAsker::SetDoor(std::unique_ptr<Door> door) {
  // What asks again meanwhile must not do it at the old one.
  const std::unique_ptr<Door> old = std::move(door_);
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
        // Not inside its own callback.
        loop_->Post([door = std::move(door_)] {});
        FailAll();
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
