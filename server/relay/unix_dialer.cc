#include "server/relay/unix_dialer.h"

#include <memory>
#include <utility>

#include "server/door/parent_messages.h"

namespace holdfast {

// Dropping it gives up: what comes after that is closed.
class UnixDialer::Pending : public EventLoop::Registration {
 public:
  Pending(UnixDialer* dialer, uint64_t question, absl::Duration timeout,
          Dialer::Done done)
      : dialer_(dialer),
        question_(question),
        done_(std::move(done)),
        timer_(dialer->loop_->RunAfter(
            timeout, [dialer, question] { dialer->OnTimeout(question); })) {
    dialer_->asked_[question_] = this;
  }
  ~Pending() override { dialer_->asked_.erase(question_); }

  Dialer::Done TakeDone() {
    timer_.reset();
    return std::move(done_);
  }

 private:
  UnixDialer* const dialer_;
  const uint64_t question_;
  Dialer::Done done_;
  EventLoop::Timer timer_;
};

PendingConnect UnixDialer::Dial(const std::string& action,
                                absl::Duration timeout, Dialer::Done done) {
  LmtpConnect question;
  question.question = next_question_++;
  question.action = action;
  auto pending = std::make_unique<Pending>(this, question.question, timeout,
                                           std::move(done));
  parent_->Send(question);
  return pending;
}

Dialer::Done UnixDialer::Take(uint64_t question) {
  const auto it = asked_.find(question);
  if (it == asked_.end()) return nullptr;
  Pending* pending = it->second;
  asked_.erase(it);
  return pending->TakeDone();
}

// The callback may drop the Pending.
void UnixDialer::OnTimeout(uint64_t question) {
  if (Dialer::Done done = Take(question))
    done(absl::DeadlineExceededError("Connection timed out"));
}

bool UnixDialer::OnParentFrame(Frame& frame) {
  if (frame.type != LmtpConnected::kType) return false;
  OwnedFd fd;
  if (!frame.fds.empty()) fd = std::move(frame.fds[0]);
  return Dispatch<LmtpConnected>(frame, [&](LmtpConnected& answer) {
    Dialer::Done done = Take(answer.question);
    if (!done) return;
    if (!answer.ok || !fd) return done(absl::UnavailableError(answer.error));
    done(MakeStream(loop_, fd.Release()));
  });
}

}  // namespace holdfast
