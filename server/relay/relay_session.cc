#include "server/relay/relay_session.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "protocol/vis.h"
#include "server/log/log.h"

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

RelaySession::RelaySession(RelayServices* services, Owner* owner, Route route,
                           const MtaLimits& limits, std::string helo,
                           std::unique_ptr<Stream> stream)
    : services_(services),
      owner_(owner),
      route_(std::move(route)),
      limits_(limits),
      stream_(std::move(stream)),
      source_(stream_->LocalAddress()),
      session_({std::move(helo), route_.protocol == RelayProtocol::kLmtp,
                limits.max_failures_per_session},
               this) {
  LogInfo("%s mta connected", ToString(route_.session));
  stream_->SetCallbacks({
      [this](absl::string_view bytes) { OnBytes(bytes); },
      [this](absl::Status status) { OnClosed(status); },
      [this] {
        last_activity_ = services_->loop()->Elapsed();
        PumpBody();
      },
  });
  stream_->ResumeReading();
  last_activity_ = services_->loop()->Elapsed();
  WatchTime(kReplyTimeout);
}

RelaySession::~RelaySession() { DropBody(); }

// ---- bytes

void RelaySession::OnBytes(absl::string_view bytes) {
  const uint64_t replies = session_.replies();
  receiving_ = true;
  session_.Receive(bytes);
  receiving_ = false;
  if (session_.replies() != replies)
    last_activity_ = services_->loop()->Elapsed();
  // An answered BDAT makes room for more.
  PumpBody();
  Flush();
}

void RelaySession::OnClosed(const absl::Status& status) {
  session_.ConnectionLost(status.ok()
                              ? "Connection closed unexpectedly"
                              : absl::StrCat("IO Error: ", status.message()));
}

void RelaySession::Flush() {
  if (stream_ == nullptr || session_.output().empty()) return;
  stream_->Write(session_.output());
  session_.OutputTaken();
  last_activity_ = services_->loop()->Elapsed();
}

// ---- work

void RelaySession::Run(std::shared_ptr<BatchWork> work) {
  work_ = std::move(work);
  if (advancing_) return;
  Advance();
  Flush();
}

void RelaySession::OnReady() {
  if (state_ == State::kGreeting) {
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
      owner_->OnRest(std::exchange(work_, nullptr));
    else if (work_ != nullptr && !work_->HasNext())
      work_.reset();
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
    t.recipients.push_back({r.dest.ForPath(), r.dsn_notify, r.dsn_orcpt});
  }
  return t;
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
  services_->Decide(work_.get(), message_, index, Via(), std::move(outcome));
}

void RelaySession::EndTransaction() {
  if (message_sent_) ++messages_;
  message_sent_ = false;
  last_end_ = services_->loop()->Elapsed();
  DropBody();
}

RelayVia RelaySession::Via() const {
  std::string source = source_.empty() ? "-" : source_;
  if (const std::optional<IpAddress> a = IpAddress::Parse(source_))
    source = a->ToBracketed();
  return {route_.session, std::move(source), route_.RelayText()};
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
  text.clear();
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

// ---- time

// One timer; what it means depends on the state when it fires.
void RelaySession::WatchTime(absl::Duration wait) {
  timer_ = services_->loop()->RunAfter(wait, [this] { OnTime(); });
}

void RelaySession::OnTime() {
  switch (state_) {
    case State::kIdle:
      return StartQuit();
    case State::kQuitting:
      return session_.ConnectionLost("Connection timeout");
    case State::kGreeting:
    case State::kBusy:
      break;
    case State::kOver:
      return;
  }
  // A claim that takes its time is not the server's silence.
  const bool ours = session_.in_body() && !work_->claimed;
  const absl::Duration now = services_->loop()->Elapsed();
  if (ours || session_.ready()) last_activity_ = now;
  const absl::Duration left = last_activity_ + kReplyTimeout - now;
  if (left > absl::ZeroDuration()) return WatchTime(left);
  session_.ConnectionLost("Connection timeout");
}

// ---- ends

void RelaySession::Drain() {
  draining_ = true;
  if (state_ == State::kIdle || (state_ == State::kBusy && session_.ready()))
    StartQuit();
}

void RelaySession::StartQuit() {
  if (transactions_ >= kMaxVainTransactions)
    LogInfo("%s mta host-rejects-all-mails", ToString(route_.session));
  state_ = State::kQuitting;
  pause_.reset();
  WatchTime(kQuitTimeout);
  session_.Quit();
  if (!advancing_) Flush();
  if (work_ != nullptr) owner_->OnRest(std::exchange(work_, nullptr));
}

void RelaySession::OnEnd(const std::string& error) {
  if (message_sent_) EndTransaction();
  if (error.empty())
    LogInfo("%s mta disconnected reason=quit messages=%d",
            ToString(route_.session), messages_);
  else
    LogError(error);
  Close(error);
}

void RelaySession::Abandon() {
  if (state_ == State::kOver) return;
  // No fault of the route, if it was not proven yet.
  if (state_ == State::kGreeting) state_ = State::kIdle;
  Close("abandoned");
}

void RelaySession::LogError(const std::string& error) const {
  const std::string text = VisEncode(error);
  if (messages_ == 0)
    LogInfo("%s mta error reason=%s", ToString(route_.session), text);
  else
    LogInfo("smtp-out: Error on session %s after %d message%s sent: %s",
            ToString(route_.session), messages_, messages_ == 1 ? "" : "s",
            text);
}

void RelaySession::Close(const std::string& error) {
  const bool greeted = state_ != State::kGreeting;
  state_ = State::kOver;
  DropBody();
  timer_.reset();
  pause_.reset();
  stream_.reset();
  services_->ReportSlot(
      std::exchange(route_.slot, 0),
      greeted ? SlotReport::Event::kClosed : SlotReport::Event::kFailed);
  std::shared_ptr<BatchWork> rest = std::exchange(work_, nullptr);
  if (rest != nullptr) owner_->OnRest(std::move(rest));
  owner_->OnOver(this, error);
}

}  // namespace holdfast
