// What the watcher of a client session is told (smtp_client_watcher.h).
#include <utility>

#include "absl/strings/strip.h"
#include "protocol/smtp_client_session.h"
#include "protocol/smtp_path.h"

namespace holdfast {
namespace {

using Kind = SmtpClientEvent::Kind;
using Result = SmtpClientEvent::Result;

constexpr char kMask[] = "********";

Result ResultOf(const SmtpReply& reply) {
  if (reply.klass() == 2) return Result::kOk;
  return reply.klass() == 5 ? Result::kPermFail : Result::kTempFail;
}

}  // namespace

void SmtpClientSession::Tell(SmtpClientEvent event) {
  if (watcher_ != nullptr) watcher_->OnEvent(event);
}

// The command that was just sent; those before it are to be answered first.
void SmtpClientSession::Watch(absl::string_view line) {
  absl::ConsumeSuffix(&line, "\r\n");
  expected_.back().line = std::string(line);
  if (expected_.size() == 1) TellNext();
}

void SmtpClientSession::TellNext() {
  if (watcher_ == nullptr || expected_.empty()) return;
  Expected& next = expected_.front();
  if (next.line.empty()) return;
  const std::string line = std::exchange(next.line, "");
  Tell({Kind::kClientLine, line});
  if (next.command == Command::kEhlo || next.command == Command::kHelo)
    Tell({Kind::kIdentify, absl::string_view(line).substr(0, 4)});
  if (next.command == Command::kRcpt)
    Tell({Kind::kEnvelope, "", Result::kOk, next.recipient});
}

// The session is over: what was sent and will not be answered.
void SmtpClientSession::TellSent() {
  if (watcher_ == nullptr) return;
  for (; live_ > 0; --live_) {
    TellNext();
    expected_.pop_front();
  }
}

void SmtpClientSession::TellServerLine(absl::string_view line) {
  if (state_ != State::kAuth) return Tell({Kind::kServerLine, line});
  Tell({Kind::kServerLine, WithoutSecret(line, kMask)});
}

void SmtpClientSession::TellBanner(const SmtpReply& reply) {
  if (watcher_ == nullptr) return;
  const absl::string_view text = reply.lines.front();
  const absl::string_view name = text.substr(0, text.find(' '));
  Tell({Kind::kGreeting, IsValidDomain(name) ? name : ""});
}

void SmtpClientSession::TellAuth(Result result) {
  Tell({Kind::kAuth, auth_user_, result});
}

void SmtpClientSession::TellMail(const SmtpReply& reply) {
  if (watcher_ == nullptr || reply.klass() != 2) return;
  told_begin_ = true;
  Tell({Kind::kMail});
}

void SmtpClientSession::TellRcpt(size_t recipient, const SmtpReply& reply) {
  if (!told_begin_) return;
  const Result result = ResultOf(reply);
  if (result != Result::kOk) Tell({Kind::kRollback});
  Tell({Kind::kRcpt, "", result, recipient});
  if (result == Result::kOk || accepted_ > 0) return;
  // The last of all who were refused: with it the transaction has ended.
  for (size_t i = 0; i < standings_.size(); ++i)
    if (i != recipient && standings_[i] != Standing::kDone) return;
  told_begin_ = false;
}

void SmtpClientSession::TellData(const SmtpReply& reply) {
  if (!told_begin_) return;
  const bool go_ahead = reply.klass() == 3;
  Tell({Kind::kData, "", go_ahead ? Result::kOk : ResultOf(reply)});
  if (!go_ahead) TellRollback();
}

// In LMTP there are several, and the last one counts.
void SmtpClientSession::TellFinal(const SmtpReply& reply) {
  taken_ |= reply.klass() == 2;
  if (!told_begin_ || !expected_.empty()) return;
  if (!taken_) return TellRollback();
  told_begin_ = false;
  Tell({Kind::kCommit, "", Result::kOk, 0, body_octets_});
}

void SmtpClientSession::TellRollback() {
  if (!std::exchange(told_begin_, false)) return;
  Tell({Kind::kRollback});
}

}  // namespace holdfast
