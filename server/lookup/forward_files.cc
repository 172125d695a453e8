#include "server/lookup/forward_files.h"

#include <utility>

namespace holdfast {

ForwardFiles::ForwardFiles(EventLoop* loop, Ask ask)
    : loop_(loop), ask_(std::move(ask)) {}

void ForwardFiles::Read(ForwardQuestion question, Callback done) {
  const File file{question.name, question.has_user, question.uid, question.gid,
                  question.home};
  const auto asked = asked_.find(file);
  if (asked != asked_.end()) {
    asked->second.waiting.push_back(std::move(done));
    return;
  }
  if (unsent_.size() >= kMaxWaitingForwards) return Refuse(std::move(done));
  Asked& mine = asked_[file];
  mine.question = std::move(question);
  mine.question.question = 0;
  mine.waiting.push_back(std::move(done));
  unsent_.push_back(file);
  SendWaiting();
}

// By a timer, since dropping it (with this object) cancels.
void ForwardFiles::Refuse(Callback done) {
  refused_.push_back(std::move(done));
  if (refuse_ != nullptr) return;
  refuse_ = loop_->RunAfter(absl::ZeroDuration(), [this] {
    refuse_.reset();
    for (Callback& callback : std::exchange(refused_, {})) {
      callback(ForwardAnswer());
    }
  });
}

void ForwardFiles::SendWaiting() {
  while (!unsent_.empty() && open_.size() < kMaxForwardQuestions) {
    const File file = std::move(unsent_.front());
    unsent_.pop_front();
    Asked& asked = asked_[file];
    asked.question.question = ++last_question_;
    open_[last_question_] = file;
    asked.timeout =
        loop_->RunAfter(kForwardTimeout, [this, question = last_question_] {
          ForwardAnswer late;
          late.question = question;
          OnAnswer(late);
        });
    ask_(asked.question);
  }
}

void ForwardFiles::OnAnswer(const ForwardAnswer& answer) {
  const auto open = open_.find(answer.question);
  if (open == open_.end()) return;
  const auto asked = asked_.find(open->second);
  Asked done = std::move(asked->second);
  asked_.erase(asked);
  open_.erase(open);
  SendWaiting();
  // In one turn of its own already: parent's frame, or a timer.
  for (Callback& callback : done.waiting) callback(answer);
}

}  // namespace holdfast
