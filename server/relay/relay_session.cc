#include "server/relay/relay_session.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/vis.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

SmtpClientSession::Options SessionOptions(RelayServices* services,
                                          const Route& route,
                                          const MtaLimits& limits) {
  using Tls = SmtpClientSession::Tls;
  SmtpClientSession::Options options;
  options.helo = route.helo;
  options.lmtp = route.policy.protocol == RelayProtocol::kLmtp;
  options.max_refused = limits.max_failures_per_session;
  if (route.policy.protocol == RelayProtocol::kSmtp)
    options.tls = Tls::kOpportunistic;
  if (route.policy.protocol == RelayProtocol::kSmtpTls)
    options.tls = Tls::kRequired;
  options.secure = route.secure;
  options.tls_verified = route.tls_verified;
  options.auth = !route.policy.label.empty();
  options.crypto = services->crypto();
  options.watcher = route.reports.get();
  return options;
}

}  // namespace

RelaySession::RelaySession(RelayServices* services, Owner* owner, Route route,
                           const MtaLimits& limits,
                           std::unique_ptr<Stream> stream)
    : services_(services),
      owner_(owner),
      route_(std::move(route)),
      limits_(limits),
      session_(SessionOptions(services, route_, limits), this) {
  UseStream(std::move(stream));
  last_activity_ = services_->loop()->Elapsed();
  WatchTime(kReplyTimeout);
}

RelaySession::~RelaySession() {
  DropBody();
  if (secret_question_ != 0) services_->secrets()->Cancel(secret_question_);
  if (work_ != nullptr) work_->session = nullptr;
}

// ---- the connection

void RelaySession::UseStream(std::unique_ptr<Stream> stream) {
  stream_ = std::move(stream);
  stream_->SetCallbacks({
      [this](absl::string_view bytes) { OnBytes(bytes); },
      [this](absl::Status status) { OnClosed(status); },
      [this] {
        last_activity_ = services_->loop()->Elapsed();
        PumpBody();
      },
  });
  stream_->ResumeReading();
}

// What the host sent behind the go-ahead ends the session (RFC 3207, section
// 4.2); what comes from now on belongs to the handshake.
void RelaySession::OnStartTls() {
  state_ = State::kSecuring;
  securing_ = std::make_unique<RouteTls>(
      services_, &route_, std::move(stream_),
      [this](absl::StatusOr<std::unique_ptr<Stream>> stream) {
        OnSecured(std::move(stream));
      });
}

void RelaySession::OnSecured(absl::StatusOr<std::unique_ptr<Stream>> stream) {
  if (!stream.ok()) {
    if (stream.status().message() == kConnectionTimeout) return TimedOut();
    return session_.ConnectionLost(stream.status().message());
  }
  state_ = State::kGreeting;
  last_activity_ = services_->loop()->Elapsed();
  UseStream(*std::move(stream));
  if (route_.reports != nullptr) route_.reports->OnTls(route_.Ciphers());
  session_.TlsEstablished(route_.tls_verified);
  Flush();
}

void RelaySession::OnAuthWanted() {
  const Table* const table =
      route_.action == nullptr ? nullptr : route_.action->auth.get();
  secret_question_ = services_->secrets()->Ask(
      route_.target.action, route_.policy.label, AnswerTimeout(table),
      [this](absl::StatusOr<ClientCredentials> credentials) {
        OnSecret(std::move(credentials));
      });
}

void RelaySession::OnSecret(absl::StatusOr<ClientCredentials> credentials) {
  secret_question_ = 0;
  last_activity_ = services_->loop()->Elapsed();
  if (credentials.ok()) {
    session_.Authenticate(*std::move(credentials));
    return Flush();
  }
  LogWarn("warn: Failed to retrieve secret for %s",
          VisEncode(TargetText(route_.target, route_.action)));
  no_credentials_ = true;
  session_.ConnectionLost("Could not retrieve credentials");
}

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
      return TimedOut();
    case State::kSecuring:  // keeps its own time
      return WatchTime(kReplyTimeout);
    case State::kGreeting:
    case State::kBusy:
      break;
    case State::kOver:
      return;
  }
  // A claim or credentials that take their time are not the server's silence.
  const bool ours =
      secret_question_ != 0 || (session_.in_body() && !work_->claimed);
  const absl::Duration now = services_->loop()->Elapsed();
  if (ours || session_.ready()) last_activity_ = now;
  const absl::Duration left = last_activity_ + kReplyTimeout - now;
  if (left > absl::ZeroDuration()) return WatchTime(left);
  TimedOut();
}

void RelaySession::TimedOut() {
  if (route_.reports != nullptr) route_.reports->OnTimeout();
  session_.ConnectionLost(kConnectionTimeout);
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
  if (work_ != nullptr) owner_->OnRest(Release());
}

void RelaySession::OnEnd(const std::string& error) {
  if (message_sent_) EndTransaction();
  if (error.empty()) {
    LogInfo("%s mta disconnected reason=quit messages=%d",
            ToString(route_.session), messages_);
    return Close(End::kOver, error);
  }
  LogError(error);
  if (!greeting()) return Close(End::kOver, error);
  if (no_credentials_) return Close(End::kNoCredentials, error);
  if (!session_.failed_in_starttls() ||
      route_.policy.protocol != RelayProtocol::kSmtp)
    return Close(End::kNotProven, error);
  LogInfo(
      "smtp-out: Error on session %s: opportunistic TLS failed, downgrading "
      "to plain",
      ToString(route_.session));
  Close(End::kTryInClear, error);
}

// No fault of the route, if it was not proven yet.
void RelaySession::Abandon() {
  if (state_ != State::kOver) Close(End::kOver, "abandoned");
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

void RelaySession::Close(End end, const std::string& error) {
  state_ = State::kOver;
  DropBody();
  timer_.reset();
  pause_.reset();
  stream_.reset();
  securing_.reset();
  if (route_.reports != nullptr) route_.reports->End();
  if (end != End::kTryInClear) {
    services_->ReportSlot(route_, end == End::kNotProven
                                      ? SlotReport::Event::kFailed
                                      : SlotReport::Event::kClosed);
    route_.slot = 0;
  }
  std::shared_ptr<BatchWork> rest = Release();
  if (rest != nullptr) owner_->OnRest(std::move(rest));
  owner_->OnOver(this, end, error);
}

}  // namespace holdfast
