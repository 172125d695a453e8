#include "server/parent/auth_pool.h"

#include <signal.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "protocol/vis.h"
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
  const auto load = loads_.find(work->name());
  if (waiting_.size() >= kMaxAuthQuestions || IsResting(work->name()) ||
      (load != loads_.end() &&
       load->second.waiting >= kMaxAuthQuestionsForName))
    return work->Fail();
  ++loads_[work->name()].waiting;
  waiting_.push_back(std::move(work));
  Match();
}

std::unique_ptr<AuthPool::Pending> AuthPool::TakeNext() {
  for (auto it = waiting_.begin(); it != waiting_.end(); ++it) {
    Load& load = loads_[(*it)->name()];
    if (load.busy >= kMaxAuthProcessesForName) continue;
    --load.waiting;
    ++load.busy;
    std::unique_ptr<Pending> work = std::move(*it);
    waiting_.erase(it);
    return work;
  }
  return nullptr;
}

void AuthPool::Done(const std::string& name) {
  const auto load = loads_.find(name);
  if (--load->second.busy == 0 && load->second.waiting == 0) loads_.erase(load);
}

bool AuthPool::IsResting(const std::string& name) {
  const auto it = resting_.find(name);
  if (it == resting_.end()) return false;
  if (it->second > loop_->Elapsed()) return true;
  resting_.erase(it);
  return false;
}

// Those of it that wait are answered, too.
void AuthPool::Rest(const std::string& name) {
  const absl::Duration now = loop_->Elapsed();
  if (resting_.size() >= kMaxRestingNames)
    std::erase_if(resting_, [now](const auto& r) { return r.second <= now; });
  if (resting_.size() < kMaxRestingNames) resting_[name] = now + kAuthRest;
  std::vector<std::unique_ptr<Pending>> refused;
  for (auto& work : waiting_) {
    if (work->name() == name) refused.push_back(std::move(work));
  }
  std::erase(waiting_, nullptr);
  if (const auto load = loads_.find(name); load != loads_.end()) {
    load->second.waiting = 0;
    if (load->second.busy == 0) loads_.erase(load);
  }
  for (auto& work : refused) work->Fail();
}

size_t AuthPool::Working() const {
  return children_.size() - slow_ - std::min(stuck_, kMaxStuckAuthProcesses);
}

void AuthPool::SetPace(Child* child, Child::Pace pace) {
  if (child->pace == Child::Pace::kSlow) --slow_;
  if (child->pace == Child::Pace::kStuck) --stuck_;
  child->pace = pace;
  if (pace == Child::Pace::kSlow) ++slow_;
  if (pace == Child::Pace::kStuck) ++stuck_;
}

void AuthPool::Match() {
  for (auto& [number, child] : children_) {
    if (child->door == nullptr || child->work != nullptr) continue;
    std::unique_ptr<Pending> work = TakeNext();
    if (work == nullptr) return;
    Give(child.get(), std::move(work));
  }
  while (!waiting_.empty() && Working() < kMaxAuthProcesses) {
    if (!StartChild()) break;
  }
  // Without any child nobody would ever come back to these.
  while (children_.size() == stuck_ && !waiting_.empty()) {
    std::unique_ptr<Pending> work = TakeNext();
    const std::string name = work->name();
    Done(name);
    work->Fail();
  }
}

// Starts one for the first who may have it.  False: nobody, or none.
bool AuthPool::StartChild() {
  auto [ours, theirs] = MakeDoorSockets();
  if (!ours || !theirs) return false;
  std::unique_ptr<Pending> work = TakeNext();
  if (work == nullptr) return false;
  const uint64_t number = next_child_++;
  ProgramStart program;
  program.path = program_;
  program.fds.push_back(std::move(theirs));
  absl::StatusOr<pid_t> pid = processes_->Start(
      std::move(program), [this, number](int) { OnExit(number); });
  if (!pid.ok()) {
    LogWarn("warn: auth: %s", pid.status().message());
    // Back to its place.
    Load& load = loads_[work->name()];
    --load.busy;
    ++load.waiting;
    waiting_.push_front(std::move(work));
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
  Give(child, std::move(work));
  return true;
}

void AuthPool::Give(Child* child, std::unique_ptr<Pending> work) {
  child->work = std::move(work);
  child->work->Send(child->door.get());
  child->timer = loop_->RunAfter(kAuthSlow, [this, child] { OnSlow(child); });
}

void AuthPool::OnSlow(Child* child) {
  child->timer = loop_->RunAfter(kAuthDeadline - kAuthSlow,
                                 [this, child] { OnDeadline(child); });
  if (slow_ >= kMaxSlowAuthProcesses) return;
  SetPace(child, Child::Pace::kSlow);
  Match();
}

// A process that waits for a file server may not even end now: who asked is
// not kept waiting for that.
void AuthPool::OnDeadline(Child* child) {
  const std::unique_ptr<Pending> work = std::move(child->work);
  const std::string name = work->name();
  LogWarn("warn: auth: no answer in time about %s", VisEncode(name));
  SetPace(child, Child::Pace::kStuck);
  Kill(child);
  Done(name);
  work->Fail();
  Rest(name);
  Match();
}

void AuthPool::OnFrame(Child* child, Frame& frame) {
  absl::AnyInvocable<void()> answer;
  if (child->work == nullptr || !child->work->Take(frame, &answer)) {
    return Kill(child);
  }
  // Free for the next question before the asker may ask it.
  const std::unique_ptr<Pending> work = std::move(child->work);
  Done(work->name());
  BecomeIdle(child);
  answer();
  Match();
}

void AuthPool::BecomeIdle(Child* child) {
  SetPace(child, Child::Pace::kGood);
  // It had not been counted, and another came instead.
  if (Working() > kMaxAuthProcesses) return Kill(child);
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
  SetPace(child.get(), Child::Pace::kGood);
  if (child->work != nullptr) {
    Done(child->work->name());
    child->work->Fail();
  }
  Match();
}

}  // namespace holdfast
