#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "protocol/vis.h"
#include "server/log/log.h"
#include "server/relay/lmtp_delivery.h"
#include "server/relay/relay_session.h"

namespace holdfast {
namespace {

// Read from a body at a time.
constexpr size_t kBodyStep = kSmallBodyBytes + 1;

WorkerOutcome::Result ToOutcome(SmtpResult::Kind kind) {
  switch (kind) {
    case SmtpResult::Kind::kOk:
      return WorkerOutcome::Result::kOk;
    case SmtpResult::Kind::kPermFail:
      return WorkerOutcome::Result::kPermFail;
    case SmtpResult::Kind::kTempFail:
    case SmtpResult::Kind::kNotTried:
      break;
  }
  return WorkerOutcome::Result::kTempFail;
}

}  // namespace

// ---- transactions

void RelaySession::Run(std::shared_ptr<BatchWork> work) {
  work_ = std::move(work);
  work_->session = this;
  if (advancing_) return;
  Advance();
  Flush();
}

void RelaySession::OnReady() {
  if (greeting()) {
    state_ = State::kIdle;
    advancing_ = true;  // Run() only takes the work
    owner_->OnGreeted(this);
  } else {
    EndTransaction();
  }
  Advance();
}

// Begins the next transaction, or rests.
void RelaySession::Advance() {
  advancing_ = true;
  while (session_.ready() && state_ != State::kOver) {
    if (work_ != nullptr && work_->stopped)
      owner_->OnRest(Release());
    else if (work_ != nullptr && !work_->HasNext())
      Release();
    if (Exhausted()) {
      StartQuit();
      break;
    }
    if (work_ == nullptr) {
      state_ = State::kIdle;
      owner_->OnIdle(this);
      if (work_ != nullptr) continue;
      if (state_ == State::kIdle) BeginIdle();
      break;
    }
    if (MustPause()) break;
    state_ = State::kBusy;
    WatchTime(kReplyTimeout);
    message_ = work_->next++;
    message_sent_ = false;
    SmtpTransaction transaction = BuildTransaction();
    if (recipients_.empty()) continue;
    if (route_.reports != nullptr) ReportTransaction(transaction);
    mail_at_ = services_->loop()->Now();
    mail_elapsed_ = services_->loop()->Elapsed();
    if (!session_.Begin(std::move(transaction))) continue;
    ++transactions_;
    ++mails_;
  }
  advancing_ = false;
}

bool RelaySession::Exhausted() const {
  const uint32_t mail_max = session_.extensions().mail_max;
  return draining_ || messages_ >= limits_.session_mail_max ||
         (mail_max > 0 && mails_ >= mail_max) ||
         transactions_ >= kMaxVainTransactions;
}

// `session-transaction-delay`.
bool RelaySession::MustPause() {
  const absl::Duration now = services_->loop()->Elapsed();
  const absl::Duration next =
      last_end_ + absl::Seconds(limits_.session_transaction_delay);
  if (next <= now) return false;
  state_ = State::kBusy;
  pause_ = services_->loop()->RunAfter(next - now, [this] {
    Advance();
    Flush();
  });
  return true;
}

void RelaySession::BeginIdle() {
  session_.Rested();
  WatchTime(absl::Seconds(limits_.session_keepalive));
}

SmtpTransaction RelaySession::BuildTransaction() {
  const BatchMessage& m = work_->batch.messages[message_];
  SmtpTransaction t;
  t.sender = m.sender.ForPath();
  t.dsn_ret = m.dsn_ret;
  t.dsn_envid = m.dsn_envid;
  t.wire_bytes = m.body.raw_bytes + m.body.lines;
  t.eight_bit = m.body.eight_bit;
  t.header_eight_bit = m.body.header_eight_bit;
  t.flags = m.flags;
  t.priority = m.priority;
  if (m.deliver_by != absl::UnixEpoch())
    t.deliver_by = {
        absl::ToInt64Seconds(m.deliver_by - services_->loop()->Now()),
        (m.flags & kFlagDeliverByReturn) != 0, m.deliver_by_trace};
  recipients_.clear();
  for (size_t i = 0; i < m.recipients.size(); ++i) {
    if (work_->decided[message_][i]) continue;
    const BatchMessage::Recipient& r = m.recipients[i];
    if (!FitsLimits(r.dest.domain)) {
      work_->next = message_;  // the rest in another transaction
      continue;
    }
    recipients_.push_back(i);
    t.recipients.push_back({PathOf(r), r.dsn_notify, r.dsn_orcpt});
  }
  trace_.clear();
  if (IsLmtpAction(work_->batch.target)) trace_ = LmtpTrace(m, recipients_);
  t.wire_bytes += trace_.size() + static_cast<size_t>(std::count(
                                      trace_.begin(), trace_.end(), '\n'));
  return t;
}

void RelaySession::ReportTransaction(const SmtpTransaction& transaction) {
  const BatchMessage& m = work_->batch.messages[message_];
  SessionReports::Transaction told;
  told.message = m.message;
  told.sender = transaction.sender;
  for (size_t i = 0; i < recipients_.size(); ++i)
    told.recipients.push_back({m.recipients[recipients_[i]].envelope,
                               transaction.recipients[i].path});
  route_.reports->BeginTransaction(std::move(told));
}

std::string RelaySession::PathOf(const BatchMessage::Recipient& r) const {
  const RelayTarget& target = work_->batch.target;
  if (!IsLmtpAction(target)) return r.dest.ForPath();
  const auto& actions = services_->config().actions;
  const auto action = actions.find(target.action);
  return LmtpRecipient(action == actions.end() ? nullptr : &action->second, r);
}

// RFC 9422: what the host takes in one transaction.
bool RelaySession::FitsLimits(const std::string& domain) const {
  const PeerExtensions& offered = session_.extensions();
  if (offered.rcpt_max > 0 && recipients_.size() >= offered.rcpt_max)
    return false;
  if (offered.rcpt_domain_max == 0) return true;
  absl::flat_hash_set<std::string> domains = {absl::AsciiStrToLower(domain)};
  const std::vector<BatchMessage::Recipient>& all =
      work_->batch.messages[message_].recipients;
  for (const size_t i : recipients_)
    domains.insert(absl::AsciiStrToLower(all[i].dest.domain));
  return domains.size() <= offered.rcpt_domain_max;
}

void RelaySession::OnResult(size_t recipient, const SmtpResult& result) {
  if (result.kind == SmtpResult::Kind::kNotTried) {
    work_->next = message_;  // for another session
    return;
  }
  if (result.kind == SmtpResult::Kind::kOk) {
    message_sent_ = true;
    transactions_ = 0;
  }
  const size_t index = recipients_[recipient];
  WorkerOutcome outcome;
  outcome.envelope = work_->batch.messages[message_].recipients[index].envelope;
  outcome.result = ToOutcome(result.kind);
  outcome.status = result.status;
  outcome.text = result.text;
  outcome.peer_dsn =
      result.kind == SmtpResult::Kind::kOk && session_.extensions().dsn;
  outcome.peer_deliver_by =
      result.kind == SmtpResult::Kind::kOk && session_.extensions().deliver_by;
  StampAttempt(&outcome);
  if (IsLmtpAction(work_->batch.target)) AsLocalDelivery(&outcome);
  services_->Decide(work_.get(), message_, index, route_.Via(),
                    std::move(outcome));
}

void RelaySession::StampAttempt(WorkerOutcome* outcome) const {
  outcome->began = mail_at_;
  outcome->took = services_->loop()->Elapsed() - mail_elapsed_;
}

void RelaySession::EndTransaction() {
  if (message_sent_) ++messages_;
  message_sent_ = false;
  last_end_ = services_->loop()->Elapsed();
  DropBody();
}

std::shared_ptr<BatchWork> RelaySession::Release() {
  if (work_ != nullptr) work_->session = nullptr;
  return std::exchange(work_, nullptr);
}

// ---- the message

void RelaySession::OnBodyWanted() {
  body_ = std::make_unique<BodySource>(
      work_->batch.messages[message_],
      [this](uint32_t first, uint32_t count) { AskBody(first, count); });
  body_complete_ = false;
  PumpBody();
}

// Produces as much of the message as may be: what is sent is bounded by what
// the server takes, and the final dot waits for the claim.
void RelaySession::PumpBody() {
  if (body_ == nullptr || !session_.in_body()) return;
  // A small message goes with its dot, in one piece.
  const bool small =
      work_->batch.messages[message_].body.raw_bytes <= kSmallBodyBytes;
  if (small && !work_->claimed) return;
  while (!body_complete_ &&
         stream_->backlog() + session_.backlog() < kMaxBacklogBytes) {
    if (!ReadBody()) break;
    if (stream_ == nullptr) return;  // it could not be read
    if (!small) Flush();
  }
  if (body_complete_ && work_->claimed && session_.in_body())
    session_.FinishBody();
  // What came together with the go-ahead must be read before the dot leaves.
  if (!advancing_ && !receiving_) Flush();
}

// False: more comes later.
bool RelaySession::ReadBody() {
  thread_local std::string text;
  text = std::exchange(trace_, "");
  const absl::StatusOr<BodySource::Progress> progress =
      body_->Read(kBodyStep, &text);
  if (!progress.ok()) {
    LogWarn("warn: smtp-out: message %s: %s",
            ToString(work_->batch.messages[message_].message),
            progress.status().message());
    session_.ConnectionLost("Error reading content file");
    return true;
  }
  session_.AppendBody(text);
  body_complete_ = *progress == BodySource::Progress::kEnd;
  return *progress != BodySource::Progress::kWaiting;
}

void RelaySession::AskBody(uint32_t first, uint32_t count) {
  BodyRequest request;
  request.message = work_->batch.messages[message_].message;
  request.first = first;
  request.count = count;
  question_ = services_->AskBody(request, [this](BodyPart part) {
    question_ = 0;
    body_->OnPart(std::move(part));
    last_activity_ = services_->loop()->Elapsed();
    PumpBody();
  });
}

void RelaySession::DropBody() {
  if (question_ != 0) services_->CancelBody(std::exchange(question_, 0));
  body_.reset();
}

void RelaySession::OnClaimed() {
  last_activity_ = services_->loop()->Elapsed();
  PumpBody();
}

}  // namespace holdfast
