#include "server/parent/auth_pool.h"

#include <signal.h>

#include <utility>
#include <vector>

#include "server/log/log.h"

namespace holdfast {

UserAnswer AnswerForNobody(const UserQuestion& question) {
  UserAnswer answer;
  answer.question = question.question;
  answer.result = UserAnswer::Result::kNotFound;
  return answer;
}

PasswordAnswer AnswerForNobody(const PasswordQuestion& question) {
  PasswordAnswer answer;
  answer.question = question.question;
  answer.result = PasswordAnswer::Result::kWrong;
  return answer;
}

ForwardAnswer AnswerForNobody(const ForwardQuestion& question) {
  ForwardAnswer answer;
  answer.question = question.question;
  answer.error = "no such user";
  return answer;
}

bool AuthPool::IsPossibleName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxUserNameBytes &&
         name.find('\0') == std::string::npos;
}

void AuthPool::Begin(std::unique_ptr<Pending> work) {
  if (waiting_.size() >= kMaxAuthQuestions) return work->Fail();
  waiting_.push_back(std::move(work));
  Match();
}

void AuthPool::Match() {
  for (auto& [number, child] : children_) {
    if (waiting_.empty()) return;
    if (child->door == nullptr || child->work != nullptr) continue;
    std::unique_ptr<Pending> work = std::move(waiting_.front());
    waiting_.pop_front();
    Give(child.get(), std::move(work));
  }
  while (!waiting_.empty() && children_.size() < kMaxAuthProcesses) {
    if (!StartChild()) break;
  }
  // Without any child nobody would ever come back to these.
  while (children_.empty() && !waiting_.empty()) {
    std::unique_ptr<Pending> work = std::move(waiting_.front());
    waiting_.pop_front();
    work->Fail();
  }
}

// Starts one for the first who waits.
bool AuthPool::StartChild() {
  auto [ours, theirs] = MakeDoorSockets();
  if (!ours || !theirs) return false;
  const uint64_t number = next_child_++;
  ProgramStart program;
  program.path = program_;
  program.fds.push_back(std::move(theirs));
  absl::StatusOr<pid_t> pid = processes_->Start(
      std::move(program), [this, number](int) { OnExit(number); });
  if (!pid.ok()) {
    LogWarn("warn: auth: %s", pid.status().message());
    return false;
  }
  auto owned = std::make_unique<Child>();
  Child* child = owned.get();
  child->pid = *pid;
  child->door = MakeDoor(loop_, std::move(ours));
  child->door->SetCallbacks(
      [this, child](Frame& frame) { OnFrame(child, frame); },
      [this, child](absl::Status) { Kill(child); });
  children_.emplace(number, std::move(owned));
  std::unique_ptr<Pending> work = std::move(waiting_.front());
  waiting_.pop_front();
  Give(child, std::move(work));
  return true;
}

void AuthPool::Give(Child* child, std::unique_ptr<Pending> work) {
  child->work = std::move(work);
  child->work->Send(child->door.get());
  child->timer = loop_->RunAfter(kAuthDeadline, [this, child] {
    LogWarn("warn: auth: no answer in time");
    Kill(child);
  });
}

void AuthPool::OnFrame(Child* child, Frame& frame) {
  absl::AnyInvocable<void()> answer;
  if (child->work == nullptr || !child->work->Take(frame, &answer)) {
    return Kill(child);
  }
  // Free for the next question before the asker may ask it.
  const std::unique_ptr<Pending> work = std::move(child->work);
  BecomeIdle(child);
  answer();
  Match();
}

void AuthPool::BecomeIdle(Child* child) {
  child->timer = loop_->RunAfter(kAuthIdle, [this, child] { Kill(child); });
}

// It is forgotten when it was reaped.
void AuthPool::Kill(Child* child) {
  child->timer.reset();
  child->door.reset();
  processes_->Kill(child->pid, SIGKILL);
}

void AuthPool::OnExit(uint64_t number) {
  auto it = children_.find(number);
  if (it == children_.end()) return;
  std::unique_ptr<Child> child = std::move(it->second);
  children_.erase(it);
  if (child->work != nullptr) child->work->Fail();
  Match();
}

}  // namespace holdfast
