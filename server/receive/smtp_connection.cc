#include "server/receive/smtp_connection.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/reply.h"
#include "protocol/vis.h"
#include "server/log/log.h"
#include "server/receive/address_text.h"
#include "server/receive/limit_refusals.h"

namespace holdfast {
namespace {

absl::Duration Patience(uint32_t seconds) {
  return seconds == 0 ? absl::InfiniteDuration() : absl::Seconds(seconds);
}

}  // namespace

SmtpConnection::SmtpConnection(ReceiveServices* services,
                               const ReceiveListener* listener, SessionId id,
                               std::string address,
                               std::unique_ptr<Stream> stream,
                               std::unique_ptr<ClientLimits::Visit> visit,
                               Owner* owner)
    : services_(services),
      listener_(listener),
      owner_(owner),
      id_(id),
      address_(std::move(address)),
      visit_(std::move(visit)),
      stream_(std::move(stream)),
      // What this host's programs say is read more leniently.
      session_(IsLoopback(address_) ? &listener->smtp_near : &listener->smtp,
               address_),
      last_activity_(services->loop->Elapsed()) {
  if (listener->filter.empty()) return;
  filtering_ = std::make_unique<Filtering>();
  session_.SetFilters({});
}

SmtpConnection::~SmtpConnection() {
  if (session_.in_auth()) services_->lookup->ForgetAuth(auth_conversation_);
  if (!in_tls_count_) return;
  --(listener_->smtp.tls == SmtpServerOptions::Tls::kWrapped
         ? services_->counts.smtps
         : services_->counts.tls);
  owner_->OnCounted();
}

void SmtpConnection::Start() {
  UseStream(std::move(stream_));
  ArmTimer();
  AskWhoItIs();
}

void SmtpConnection::UseStream(std::unique_ptr<Stream> stream) {
  stream_ = std::move(stream);
  wants_bytes_ = false;
  Stream::Callbacks callbacks;
  callbacks.on_bytes = [this](absl::string_view bytes) { OnBytes(bytes); };
  callbacks.on_closed = [this](absl::Status status) { OnStreamClosed(status); };
  callbacks.on_drained = [this] { OnDrained(); };
  stream_->SetCallbacks(std::move(callbacks));
}

void SmtpConnection::OnBytes(absl::string_view bytes) {
  if (!IsTalking()) return;
  if (session_.InMessage()) {
    if (reading_ != nullptr)
      reading_->bytes += static_cast<int64_t>(bytes.size());
    // A refused message makes no events; CheckTime() sees to its rate.
    last_activity_ = services_->loop->Elapsed();
  }
  session_.Receive(bytes);
  Pump();
}

void SmtpConnection::Pump() {
  if (!IsTalking()) return;
  for (;;) {
    while (!IsHeldBack()) {
      std::optional<SmtpServerEvent> event = session_.Next();
      if (!event) break;
      std::visit([this](auto& e) { On(e); }, *event);
      last_activity_ = services_->loop->Elapsed();
      if (!IsTalking()) return;
    }
    const bool more = session_.OutputIsFull();
    Flush();
    if (!more || stream_->backlog() > kMaxReplyBacklog) break;
  }
  session_.KeepRest();
  if (phase_ == Phase::kStopping && !session_.InMessage() &&
      !session_.closed()) {
    session_.Close(replies::ShuttingDown());
    return Pump();
  }
  if (heard_all_ && !OwesAnswers()) return CloseWith("disconnect");
  UpdateReading();
}

// Somebody has to take what there is before more is made.
bool SmtpConnection::IsHeldBack() const {
  return MessageIsBlocked() ||
         (filtering_ != nullptr && !services_->filters->MayGoOn());
}

// Of a client that says nothing more, whether it may hear something yet.
bool SmtpConnection::OwesAnswers() const {
  return session_.waits_for_answer() || IsHeldBack() ||
         session_.OutputIsFull() || stream_->backlog() > 0;
}

void SmtpConnection::Flush() {
  const std::string output = session_.TakeOutput();
  if (output.empty()) return;
  last_activity_ = services_->loop->Elapsed();
  stream_->Write(output);
}

void SmtpConnection::UpdateReading() {
  const bool blocked = IsHeldBack() || stream_->backlog() > kMaxReplyBacklog;
  const bool want = session_.WantsInput() && !blocked;
  if (want == wants_bytes_) return;
  wants_bytes_ = want;
  const absl::Duration now = services_->loop->Elapsed();
  if (want) {
    if (reading_ != nullptr && reading_->blocked_since < now) {
      reading_->started += now - reading_->blocked_since;
      reading_->blocked_since = absl::InfiniteDuration();
    }
    stream_->ResumeReading();
  } else {
    if (reading_ != nullptr) reading_->blocked_since = now;
    stream_->PauseReading();
  }
}

// ---- The end

void SmtpConnection::OnStreamClosed(const absl::Status& status) {
  if (phase_ == Phase::kClosed) return;
  if (phase_ == Phase::kLingering) {
    phase_ = Phase::kClosed;
    return owner_->OnConnectionClosed(this);
  }
  if (status.ok()) {
    heard_all_ = true;
    return Pump();
  }
  CloseWith(absl::StrCat(
      "\"io-error: ", VisEncode(std::string(status.message())), "\""));
}

void SmtpConnection::OnDrained() {
  if (phase_ != Phase::kLingering || !heard_all_) return Pump();
  phase_ = Phase::kClosed;
  owner_->OnConnectionClosed(this);
}

// Without a word to the client.
void SmtpConnection::CloseWith(absl::string_view reason) {
  if (phase_ != Phase::kNaming)
    LogInfo("%s smtp disconnected reason=%s", ToString(id_), reason);
  phase_ = Phase::kClosed;
  EndFiltering();
  reading_.reset();
  transaction_.reset();
  owner_->OnConnectionClosed(this);
}

void SmtpConnection::On(const SessionClosed&) {
  LogInfo("%s smtp disconnected reason=%s", ToString(id_),
          timed_out_ ? "timeout" : "quit");
  Flush();
  Linger();
}

// Sees the last reply out.  Closing at once could make the system reset the
// connection, and the client would not get it.
void SmtpConnection::Linger() {
  phase_ = Phase::kLingering;
  EndFiltering();
  reading_.reset();
  transaction_.reset();
  stream_->Shutdown();
  if (heard_all_ && stream_->backlog() == 0) return OnDrained();
  stream_->ResumeReading();
  timer_ = services_->loop->RunAfter(kLingerTimeout, [this] {
    phase_ = Phase::kClosed;
    owner_->OnConnectionClosed(this);
  });
}

void SmtpConnection::Stop() {
  if (phase_ == Phase::kNaming || phase_ == Phase::kHandshake)
    return CloseWith("quit");
  if (phase_ != Phase::kTalking) return;
  phase_ = Phase::kStopping;
  Pump();
}

void SmtpConnection::OnQueueGone() {
  if (message() == nullptr || end_question_ != 0) return;
  reading_->message.reset();
  RefuseText(replies::TemporaryError());
  owner_->PumpLater(this);
}

// ---- Time

// How long nothing complete may come (RFC 5321 section 4.5.3.2).
absl::Duration SmtpConnection::PatienceNow() const {
  return Patience(session_.InMessage() ? services_->limits->data_timeout
                                       : services_->limits->command_timeout);
}

void SmtpConnection::ArmTimer() {
  // Whichever state comes next.
  const absl::Duration patience =
      std::min(Patience(services_->limits->data_timeout),
               Patience(services_->limits->command_timeout));
  const absl::Duration idle = services_->loop->Elapsed() - last_activity_;
  const absl::Duration left = std::min(
      std::max(std::min(patience, PatienceNow()) - idle, absl::Seconds(1)),
      absl::Minutes(5));
  timer_ = services_->loop->RunAfter(left, [this] { CheckTime(); });
}

void SmtpConnection::CheckTime() {
  // The handshake has a limit of its own, and so has what is asked before.
  if (phase_ == Phase::kHandshake) {
    last_activity_ = services_->loop->Elapsed();
    return ArmTimer();
  }
  const absl::Duration now = services_->loop->Elapsed();
  // While the client waits for us, it need not do anything.
  const bool our_turn = phase_ == Phase::kNaming || IsHeldBack() ||
                        !session_.WantsInput() || session_.waits_for_answer();
  if (our_turn && stream_->backlog() == 0) last_activity_ = now;
  if (now - last_activity_ >= PatienceNow()) {
    ++services_->counts.timeouts;
    owner_->OnCounted();
    return EndForTimeout();
  }
  ArmTimer();
  if (our_turn || !IsTooSlow(now)) return;
  ++services_->counts.slow_messages;
  owner_->OnCounted();
  session_.Close(MessageTooSlow());
  Pump();
}

// RFC 5321 section 4.2.2: 421 may answer any command, and nothing as well.  Who
// doesn't read is told nothing.
void SmtpConnection::EndForTimeout() {
  Report(FilterEvent::kTimeout, {});
  if (!IsTalking() || stream_->backlog() > 0) return CloseWith("timeout");
  timed_out_ = true;
  session_.Close(TimedOut());
  Pump();
}

bool SmtpConnection::IsTooSlow(absl::Duration now) const {
  const uint32_t rate = services_->limits->min_data_rate;
  if (rate == 0 || reading_ == nullptr || !session_.InMessage()) return false;
  return now - reading_->started >
         kMessageGrace + absl::Seconds(reading_->bytes / rate);
}

void SmtpConnection::On(const PauseAsked& asked) {
  pause_ = services_->loop->RunAfter(kErrorPause, [this, q = asked.question] {
    session_.Resume(q, replies::Ok());
    Pump();
  });
}

// ---- Log

void SmtpConnection::On(const CommandFailed& failed) {
  LogInfo("%s smtp failed-command command=\"%s\" result=\"%s\"", ToString(id_),
          VisEncode(failed.command), failed.result);
  CountHits(session_.TakeLimitHits(), &services_->counts);
  owner_->OnCounted();
}

void SmtpConnection::On(const BadInput& bad) {
  LogInfo("%s smtp bad-input result=\"%s\"", ToString(id_), bad.result);
}

}  // namespace holdfast
