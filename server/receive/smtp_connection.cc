#include "server/receive/smtp_connection.h"

#include <algorithm>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/received_header.h"
#include "protocol/reply.h"
#include "protocol/vis.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

// "[2001:db8::1]" as the DNS is asked.
std::string WithoutBrackets(const std::string& address) {
  if (!absl::StartsWith(address, "[")) return address;
  return address.substr(1, address.size() - 2);
}

// More than the envelope takes in a frame.
size_t EncodedBytes(const Envelope& e) {
  constexpr size_t kNumbers = 256;
  size_t bytes = kNumbers;
  for (const std::string* text :
       {&e.action, &e.tag, &e.smtpname, &e.helo, &e.hostname, &e.sockaddr,
        &e.sender.user, &e.sender.domain, &e.rcpt.user, &e.rcpt.domain,
        &e.dest.user, &e.dest.domain, &e.dsn_envid, &e.dsn_orcpt, &e.mda_user,
        &e.mda_subaddress, &e.mda_exec, &e.routing_key})
    bytes += text->size();
  return bytes;
}

Reply ReplyFor(AcceptResult failure) {
  return failure == AcceptResult::kNoRoom ? replies::NoRoom()
                                          : replies::TemporaryFailure();
}

}  // namespace

SmtpConnection::SmtpConnection(ReceiveServices* services,
                               const ReceiveListener* listener, SessionId id,
                               std::string address,
                               std::unique_ptr<Stream> stream, Owner owner)
    : services_(services),
      listener_(listener),
      id_(id),
      address_(std::move(address)),
      stream_(std::move(stream)),
      owner_(std::move(owner)),
      session_(&listener->smtp, address_),
      last_activity_(services->loop->Elapsed()) {}

void SmtpConnection::Start() {
  Stream::Callbacks callbacks;
  callbacks.on_bytes = [this](absl::string_view bytes) { OnBytes(bytes); };
  callbacks.on_closed = [this](absl::Status status) { OnStreamClosed(status); };
  callbacks.on_drained = [this] { OnDrained(); };
  stream_->SetCallbacks(std::move(callbacks));
  ArmTimer();
  if (listener_->socket) return OnName(services_->server_name);
  services_->names->Find(WithoutBrackets(address_),
                         [weak = weak_from_this()](const std::string& name) {
                           if (auto self = weak.lock()) self->OnName(name);
                         });
}

void SmtpConnection::OnName(const std::string& name) {
  if (phase_ != Phase::kNaming) return;
  phase_ = Phase::kTalking;
  name_ = name;
  LogInfo("%s smtp connected address=%s host=%s", ToString(id_), address_,
          VisEncode(name_));
  session_.Greet();
  Pump();
}

void SmtpConnection::OnBytes(absl::string_view bytes) {
  if (phase_ != Phase::kTalking && phase_ != Phase::kStopping) return;
  if (session_.InMessage()) {
    message_bytes_ += static_cast<int64_t>(bytes.size());
    // A refused message makes no events; CheckTime() sees to its rate.
    last_activity_ = services_->loop->Elapsed();
  }
  session_.Receive(bytes);
  Pump();
}

void SmtpConnection::Pump() {
  if (phase_ != Phase::kTalking && phase_ != Phase::kStopping) return;
  for (;;) {
    while (!MessageIsBlocked()) {
      std::optional<SmtpServerEvent> event = session_.Next();
      if (!event) break;
      std::visit([this](auto& e) { On(e); }, *event);
      last_activity_ = services_->loop->Elapsed();
      if (phase_ == Phase::kLingering || phase_ == Phase::kClosed) return;
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

// Of a client that says nothing more, whether it may hear something yet.
bool SmtpConnection::OwesAnswers() const {
  return session_.waits_for_answer() || MessageIsBlocked() ||
         session_.OutputIsFull() || stream_->backlog() > 0;
}

// The queue has to take some before more is read.
bool SmtpConnection::MessageIsBlocked() const {
  return message_ != nullptr && !message_->CanTake();
}

void SmtpConnection::Flush() {
  const std::string output = session_.TakeOutput();
  if (output.empty()) return;
  last_activity_ = services_->loop->Elapsed();
  stream_->Write(output);
}

void SmtpConnection::UpdateReading() {
  const bool blocked =
      MessageIsBlocked() || stream_->backlog() > kMaxReplyBacklog;
  const bool want = session_.WantsInput() && !blocked;
  if (want == reading_) return;
  reading_ = want;
  const absl::Duration now = services_->loop->Elapsed();
  if (want) {
    if (message_ && blocked_since_ < now)
      message_started_ += now - blocked_since_;
    blocked_since_ = absl::InfiniteDuration();
    stream_->ResumeReading();
  } else {
    blocked_since_ = now;
    stream_->PauseReading();
  }
}

// ---- The end

void SmtpConnection::OnStreamClosed(const absl::Status& status) {
  if (phase_ == Phase::kClosed) return;
  if (phase_ == Phase::kLingering) {
    phase_ = Phase::kClosed;
    return owner_.closed(this);
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
  owner_.closed(this);
}

// Without a word to the client.
void SmtpConnection::CloseWith(absl::string_view reason) {
  if (phase_ != Phase::kNaming)
    LogInfo("%s smtp disconnected reason=%s", ToString(id_), reason);
  phase_ = Phase::kClosed;
  message_.reset();
  transaction_.reset();
  owner_.closed(this);
}

void SmtpConnection::On(const SessionClosed&) {
  LogInfo("%s smtp disconnected reason=quit", ToString(id_));
  Flush();
  Linger();
}

// Sees the last reply out.  Closing at once could make the system reset the
// connection, and the client would not get it.
void SmtpConnection::Linger() {
  phase_ = Phase::kLingering;
  message_.reset();
  transaction_.reset();
  stream_->Shutdown();
  if (heard_all_ && stream_->backlog() == 0) return OnDrained();
  stream_->ResumeReading();
  timer_ = services_->loop->RunAfter(kLingerTimeout, [this] {
    phase_ = Phase::kClosed;
    owner_.closed(this);
  });
}

void SmtpConnection::Stop() {
  if (phase_ == Phase::kNaming) return CloseWith("quit");
  if (phase_ != Phase::kTalking) return;
  phase_ = Phase::kStopping;
  Pump();
}

void SmtpConnection::OnQueueGone() {
  if (message_ == nullptr || end_question_ != 0) return;
  session_.RefuseMessage(replies::TemporaryError());
  message_.reset();
  owner_.pump_later(this);
}

// ---- Time

void SmtpConnection::ArmTimer() {
  const absl::Duration idle = services_->loop->Elapsed() - last_activity_;
  const absl::Duration left =
      std::max(kSessionTimeout - idle, absl::Seconds(1));
  timer_ = services_->loop->RunAfter(left, [this] { CheckTime(); });
}

void SmtpConnection::CheckTime() {
  const absl::Duration now = services_->loop->Elapsed();
  // While the client waits for us, it need not do anything.
  const bool our_turn = phase_ == Phase::kNaming || MessageIsBlocked() ||
                        !session_.WantsInput() || session_.waits_for_answer();
  if (our_turn && stream_->backlog() == 0) last_activity_ = now;
  const bool slow =
      session_.InMessage() && !our_turn &&
      now - message_started_ >
          kMessageGrace + absl::Seconds(message_bytes_ / kMinMessageRate);
  if (slow || now - last_activity_ >= kSessionTimeout)
    return CloseWith("timeout");
  ArmTimer();
}

// ---- Log

void SmtpConnection::On(const CommandFailed& failed) {
  LogInfo("%s smtp failed-command command=\"%s\" result=\"%s\"", ToString(id_),
          VisEncode(failed.command), failed.result);
}

void SmtpConnection::On(const BadInput& bad) {
  LogInfo("%s smtp bad-input result=\"%s\"", ToString(id_), bad.result);
}

// ---- The transaction

void SmtpConnection::On(const SenderAsked& asked) {
  if (!services_->queue->connected())
    return session_.Resume(asked.question, replies::TemporaryFailure());
  if (!services_->queue->has_room())
    return session_.Resume(asked.question, replies::NoRoom());
  transaction_ = std::make_unique<Transaction>();
  transaction_->sender = asked.path;
  session_.Resume(asked.question, replies::Ok());
}

void SmtpConnection::On(RecipientAsked& asked) {
  ExpandRequest request;
  request.tag = listener_->tag;
  request.sockaddr = address_;
  request.rdns = name_;
  request.helo = session_.helo();
  request.authenticated = listener_->socket;
  request.smtpname = listener_->smtp.name;
  request.sender = transaction_->sender.address;
  request.rcpt = asked.path.address;
  services_->lookup->Expand(
      std::move(request),
      [weak = weak_from_this(), question = asked.question,
       path = std::move(asked.path)](const ExpandAnswer& answer) {
        if (auto self = weak.lock()) self->OnExpanded(question, path, answer);
      });
}

void SmtpConnection::OnExpanded(uint64_t question, const ForwardPath& path,
                                const ExpandAnswer& answer) {
  if (transaction_ == nullptr) return;
  if (!answer.refusal.empty()) {
    const std::string text =
        absl::StrCat(answer.refusal, ": <", path.address.ForPath(), ">");
    session_.Resume(question, RefusalFromText(text, 550));
  } else if (answer.recipients.empty()) {
    // Neither refused nor accepted is no answer.
    session_.Resume(question, replies::TemporaryFailure());
  } else if (!AddRecipient(path, answer)) {
    session_.Resume(question, replies::TooManyRecipients());
  } else {
    session_.Resume(question, replies::RecipientOk());
  }
  owner_.pump_later(this);
}

bool SmtpConnection::AddRecipient(const ForwardPath& path,
                                  const ExpandAnswer& answer) {
  std::vector<Envelope>& envelopes = transaction_->envelopes;
  const size_t before = envelopes.size();
  if (before + answer.recipients.size() > kMaxEnvelopesPerMessage) return false;
  size_t bytes = transaction_->envelope_bytes;
  const ReversePath& sender = transaction_->sender;
  for (const ExpandedRecipient& to : answer.recipients) {
    Envelope envelope;
    envelope.kind = to.kind;
    envelope.action = to.action;
    envelope.tag = listener_->tag;
    envelope.smtpname = listener_->smtp.name;
    envelope.helo = session_.helo();
    envelope.hostname = name_;
    envelope.sockaddr = address_;
    envelope.sender = sender.address;
    envelope.rcpt = path.address;
    envelope.dest = to.dest;
    envelope.flags = (listener_->socket ? kFlagAuthenticated : 0u) |
                     (to.internal ? kFlagInternal : 0u);
    envelope.dsn_notify = path.parameters.dsn_notify;
    envelope.dsn_orcpt = path.parameters.dsn_orcpt;
    envelope.dsn_ret = sender.parameters.dsn_ret;
    envelope.dsn_envid = sender.parameters.dsn_envid;
    envelope.mda_user = to.mda_user;
    envelope.mda_subaddress = to.mda_subaddress;
    envelope.mda_exec = to.mda_exec;
    envelope.routing_key = to.routing_key;
    // Relative until the message is accepted.
    envelope.expires =
        absl::UnixEpoch() +
        (to.ttl > absl::ZeroDuration() ? to.ttl : services_->queue_ttl);
    bytes += EncodedBytes(envelope);
    envelopes.push_back(std::move(envelope));
  }
  if (bytes > kMaxEnvelopeBytesPerMessage) {
    envelopes.resize(before);
    return false;
  }
  transaction_->envelope_bytes = bytes;
  transaction_->recipients.push_back({path.address, envelopes.size() - 1});
  return true;
}

void SmtpConnection::On(const TransactionReset&) {
  if (end_question_ != 0) return;  // the queue has it
  message_.reset();
  transaction_.reset();
}

// ---- The message

void SmtpConnection::On(const MessageStarts& asked) {
  services_->queue->RequestId(
      [weak = weak_from_this(),
       question = asked.question](std::optional<MessageId> id) {
        const auto self = weak.lock();
        if (self == nullptr || self->transaction_ == nullptr) return;
        if (id) {
          self->BeginMessage(question, *id);
        } else {
          self->session_.Resume(question, replies::TemporaryFailure());
        }
        self->owner_.pump_later(self.get());
      });
}

std::string SmtpConnection::MakeReceivedHeader(MessageId id) const {
  ReceivedFacts facts;
  facts.mask_source = listener_->mask_source;
  facts.helo = session_.helo();
  facts.rdns = name_;
  facts.address = address_;
  facts.by = listener_->smtp.name;
  facts.extended = session_.extended();
  facts.authenticated = listener_->socket;
  facts.message = id;
  if (transaction_->recipients.size() == 1)
    facts.recipient = transaction_->recipients.front().address.ForPath();
  facts.now = services_->loop->Now();
  facts.zone = services_->zone;
  return ReceivedHeader(facts);
}

void SmtpConnection::BeginMessage(uint64_t question, MessageId id) {
  HeaderOptions headers;
  headers.domain = listener_->header_domain;
  headers.add_missing = listener_->add_missing;
  headers.now = services_->loop->Now();
  headers.zone = services_->zone;
  headers.message_id_number = absl::Uniform<uint64_t>(services_->random);
  message_ = std::make_shared<IncomingMessage>(
      services_->queue, id, id_, std::move(headers), MakeReceivedHeader(id),
      [weak = weak_from_this()] {
        if (auto self = weak.lock()) self->OnMessageProgress();
      });
  message_started_ = services_->loop->Elapsed();
  blocked_since_ = absl::InfiniteDuration();
  message_bytes_ = 0;
  session_.Resume(question, replies::StartMail());
}

void SmtpConnection::On(const MessageBytes&) {
  if (message_ != nullptr) {
    message_->Take(&session_, &services_->scratch);
    if (MessageIsTooBig()) session_.RefuseMessage(replies::MessageTooBig());
    return;
  }
  // Lost with the queue; the session has been told to drop the rest.
  services_->scratch.clear();
  session_.ReadMessage(kMessageSlice, &services_->scratch);
}

// The session counts what the client sends; completing addresses can make more
// of it than the queue would take.
bool SmtpConnection::MessageIsTooBig() const {
  return message_->raw_bytes() >
         listener_->smtp.max_message_size + kHeaderAllowance;
}

void SmtpConnection::OnMessageProgress() {
  if (message_ == nullptr) return;
  if (end_question_ != 0) {
    if (message_->failure() || message_->complete()) SubmitMessage();
  } else if (const auto failure = message_->failure()) {
    session_.RefuseMessage(ReplyFor(*failure));
    message_.reset();
  }
  owner_.pump_later(this);
}

void SmtpConnection::On(const MessageEnds& asked) {
  const MessageHeaders::Verdict verdict = message_->Finish(&services_->scratch);
  if (MessageIsTooBig())
    return session_.Resume(asked.question, replies::MessageTooBig());
  switch (verdict) {
    case MessageHeaders::Verdict::kOk:
      break;
    case MessageHeaders::Verdict::kLoop:
      LogWarn("warn: loop detected");
      return session_.Resume(asked.question, replies::RoutingLoop());
    case MessageHeaders::Verdict::kMalformed:
      return session_.Resume(asked.question, replies::MalformedMessage());
  }
  end_question_ = asked.question;
  if (message_->failure() || message_->complete()) SubmitMessage();
}

// All chunks are kept, or one could not be.
void SmtpConnection::SubmitMessage() {
  const uint64_t question = std::exchange(end_question_, 0);
  const std::shared_ptr<IncomingMessage> message = std::move(message_);
  if (const auto failure = message->failure())
    return session_.Resume(question, ReplyFor(*failure));
  end_question_ = question;

  AcceptRequest request;
  message->Submit(&request);
  request.created = services_->loop->Now();
  request.envelopes = std::move(transaction_->envelopes);
  uint32_t low =
      absl::Uniform<uint32_t>(services_->random, 1, uint32_t{1} << 31);
  for (Envelope& envelope : request.envelopes) {
    envelope.id = MakeEnvelopeId(message->id(), low++);
    envelope.created = request.created;
    envelope.expires = request.created + (envelope.expires - absl::UnixEpoch());
  }

  // The log tells what was accepted even if the client has gone meanwhile.
  std::vector<std::string> lines;
  lines.push_back(absl::StrFormat(
      "%s smtp message msgid=%s size=%d nrcpt=%d proto=%s", ToString(id_),
      ToString(message->id()), request.body.raw_bytes,
      transaction_->recipients.size(), session_.extended() ? "ESMTP" : "SMTP"));
  for (const Recipient& recipient : transaction_->recipients) {
    lines.push_back(absl::StrFormat(
        "%s smtp envelope evpid=%s from=<%s> to=<%s>", ToString(id_),
        ToString(request.envelopes[recipient.last_envelope].id),
        VisEncode(transaction_->sender.address.ForPath()),
        VisEncode(recipient.address.ForPath())));
  }
  transaction_.reset();
  services_->queue->Accept(
      std::move(request),
      [weak = weak_from_this(), question, id = message->id(),
       chunks = message->has_chunks(), queue = services_->queue,
       lines = std::move(lines)](AcceptResult result) {
        if (auto self = weak.lock()) self->OnAccepted(question, id, result);
        if (result == AcceptResult::kOk) {
          for (const std::string& line : lines) LogLine(LogLevel::kInfo, line);
        } else if (chunks) {
          queue->Drop(id);
        }
      });
}

void SmtpConnection::OnAccepted(uint64_t question, MessageId message,
                                AcceptResult result) {
  end_question_ = 0;
  session_.Resume(question, result == AcceptResult::kOk
                                ? replies::Accepted(ToString(message))
                                : ReplyFor(result));
  owner_.pump_later(this);
}

}  // namespace holdfast
