#include "server/lookup/user_directory.h"

#include <utility>

namespace holdfast {

UserDirectory::UserDirectory(EventLoop* loop, Ask ask)
    : loop_(loop), ask_(std::move(ask)) {}

// By a timer, since dropping it (with this object) cancels.
void UserDirectory::Later(Callback done, Result result) {
  ready_.emplace_back(std::move(done), result);
  if (deliver_ != nullptr) return;
  deliver_ = loop_->RunAfter(absl::ZeroDuration(), [this] {
    deliver_.reset();
    for (auto& [callback, answer] : std::exchange(ready_, {})) callback(answer);
  });
}

void UserDirectory::Find(const std::string& name, Callback done) {
  ForgetOld();
  if (const auto known = known_.find(name); known != known_.end()) {
    return Later(std::move(done), known->second.result);
  }
  const auto asked = asked_.find(name);
  if (asked != asked_.end()) {
    asked->second.waiting.push_back(std::move(done));
    return;
  }
  if (unsent_.size() >= kMaxWaitingNames) {
    return Later(std::move(done), Result::kError);
  }
  asked_[name].waiting.push_back(std::move(done));
  unsent_.push_back(name);
  SendWaiting();
}

void UserDirectory::SendWaiting() {
  while (!unsent_.empty() && open_.size() < kMaxUserQuestions) {
    const std::string name = std::move(unsent_.front());
    unsent_.pop_front();
    Asked& asked = asked_[name];
    asked.question = ++last_question_;
    open_[asked.question] = name;
    asked.timeout = loop_->RunAfter(kUserQuestionTimeout,
                                    [this, question = asked.question] {
                                      UserAnswer late;
                                      late.question = question;
                                      late.result = Result::kError;
                                      OnAnswer(late);
                                    });
    UserQuestion question;
    question.question = asked.question;
    question.name = name;
    ask_(question);
  }
}

void UserDirectory::OnAnswer(const UserAnswer& answer) {
  const auto open = open_.find(answer.question);
  if (open == open_.end()) return;
  const std::string name = open->second;
  open_.erase(open);
  const bool certain =
      answer.result == Result::kFound || answer.result == Result::kNotFound;
  Answer(name, certain ? answer.result : Result::kError);
  SendWaiting();
}

void UserDirectory::Answer(const std::string& name, Result result) {
  const auto asked = asked_.find(name);
  Asked done = std::move(asked->second);
  asked_.erase(asked);
  if (result != Result::kError) Remember(name, result);
  for (Callback& callback : done.waiting) Later(std::move(callback), result);
}

void UserDirectory::Remember(const std::string& name, Result result) {
  if (known_.size() >= kUserCacheEntries) {
    known_.erase(expiry_.front().second);
    expiry_.pop_front();
  }
  const absl::Duration until = loop_->Elapsed() + kUserCacheTime;
  known_[name] = {result, until};
  expiry_.emplace_back(until, name);
}

void UserDirectory::ForgetOld() {
  while (!expiry_.empty() && expiry_.front().first <= loop_->Elapsed()) {
    known_.erase(expiry_.front().second);
    expiry_.pop_front();
  }
}

}  // namespace holdfast
