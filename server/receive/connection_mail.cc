// The transaction of an SmtpConnection: MAIL, RCPT, the message, its
// acceptance.
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/received_header.h"
#include "protocol/reply.h"
#include "protocol/vis.h"
#include "server/log/log.h"
#include "server/receive/limit_refusals.h"
#include "server/receive/smtp_connection.h"

namespace holdfast {
namespace {

// More than the envelope takes in a frame.
size_t EncodedBytes(const Envelope& e) {
  constexpr size_t kNumbers = 256;
  size_t bytes = kNumbers;
  for (const std::string* text :
       {&e.action, &e.tag, &e.smtpname, &e.helo, &e.hostname, &e.username,
        &e.sockaddr, &e.sender.user, &e.sender.domain, &e.rcpt.user,
        &e.rcpt.domain, &e.dest.user, &e.dest.domain, &e.dsn_envid,
        &e.dsn_orcpt, &e.mda_user, &e.mda_subaddress, &e.mda_exec,
        &e.routing_key})
    bytes += text->size();
  return bytes;
}

Reply ReplyFor(AcceptResult failure) {
  return failure == AcceptResult::kNoRoom ? replies::NoRoom()
                                          : replies::TemporaryFailure();
}

// What MAIL's parameters mean for each envelope; times count from `begun`.
void TakeParameters(const MailParameters& from, absl::Time begun,
                    Envelope* envelope) {
  envelope->dsn_ret = from.dsn_ret;
  envelope->dsn_envid = from.dsn_envid;
  if (from.smtputf8) envelope->flags |= kFlagSmtpUtf8;
  if (from.requiretls) envelope->flags |= kFlagRequireTls;
  if (from.body == MailParameters::Body::k8BitMime)
    envelope->flags |= kFlag8BitMime;
  if (from.body == MailParameters::Body::kBinaryMime)
    envelope->flags |= kFlagBinaryMime;
  envelope->priority = static_cast<int8_t>(from.mt_priority.value_or(0));
  if (from.hold_until) envelope->hold_until = *from.hold_until;
  if (from.hold_for) envelope->hold_until = begun + *from.hold_for;
  if (!from.deliver_by) return;
  envelope->deliver_by = begun + absl::Seconds(from.deliver_by->seconds);
  envelope->deliver_by_trace = from.deliver_by->trace;
  if (from.deliver_by->mode == 'R') envelope->flags |= kFlagDeliverByReturn;
}

// What the session would have told, had the client stayed.
void ReportEnd(FilteredSession* filters, MessageId message, uint64_t bytes,
               bool accepted) {
  const std::string id = ToString(message);
  if (accepted) {
    filters->Report(FilterEvent::kTxCommit, {id, absl::StrCat(bytes)});
  } else {
    filters->Report(FilterEvent::kTxRollback, {id});
  }
  filters->Report(FilterEvent::kTxReset, {id});
}

}  // namespace

// ---- MAIL

void SmtpConnection::On(const SenderAsked& asked) {
  if (!services_->queue->connected())
    return session_.Resume(asked.question, replies::TemporaryFailure());
  if (!services_->queue->has_room())
    return session_.Resume(asked.question, replies::NoRoom());
  if (visit_ != nullptr) {
    const LimitVerdict verdict = visit_->OnMail(services_->loop->Now());
    if (!verdict.allowed()) {
      CountRefusal(verdict.limit, &services_->counts);
      owner_->OnCounted();
      return session_.Resume(asked.question, RefusalFor(verdict));
    }
  }
  if (listener_->has_senders && session_.authenticated())
    return AskSender(asked);
  BeginTransaction(asked.question, asked.path);
}

void SmtpConnection::BeginTransaction(uint64_t question,
                                      const ReversePath& sender) {
  transaction_ = std::make_unique<Transaction>();
  transaction_->sender = sender;
  transaction_->begun = services_->loop->Now();
  if (filtering_ != nullptr) return LeaseId(question);
  session_.Resume(question, replies::Ok());
}

// ---- RCPT

ExpandRequest SmtpConnection::ExpandRequestFor(const MailAddress& rcpt) const {
  ExpandRequest request;
  request.tag = listener_->tag;
  request.sockaddr = address_;
  request.rdns = name_;
  request.helo = session_.helo();
  request.authenticated = HasAuthenticated();
  request.username = session_.username();
  request.tls = session_.tls();
  request.smtpname = session_.name();
  request.sender = transaction_->sender.address;
  request.rcpt = rcpt;
  return request;
}

void SmtpConnection::On(RecipientAsked& asked) {
  ExpandRequest request = ExpandRequestFor(asked.path.address);
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
  owner_->PumpLater(this);
}

bool SmtpConnection::AddRecipient(const ForwardPath& path,
                                  const ExpandAnswer& answer) {
  std::vector<Envelope>& envelopes = transaction_->envelopes;
  const size_t before = envelopes.size();
  if (before + answer.recipients.size() > kMaxEnvelopesPerMessage) return false;
  size_t bytes = transaction_->envelope_bytes;
  for (const ExpandedRecipient& to : answer.recipients) {
    envelopes.push_back(MakeEnvelope(path, to));
    bytes += EncodedBytes(envelopes.back());
  }
  if (bytes > kMaxEnvelopeBytesPerMessage) {
    envelopes.resize(before);
    return false;
  }
  if (filtering_ != nullptr) {
    const std::string id = ToString(transaction_->id);
    for (size_t i = before; i < envelopes.size(); ++i) {
      envelopes[i].id =
          MakeEnvelopeId(transaction_->id, transaction_->next_envelope++);
      Report(FilterEvent::kTxEnvelope, {id, ToString(envelopes[i].id)});
    }
  }
  transaction_->envelope_bytes = bytes;
  transaction_->recipients.push_back({path.address, envelopes.size() - 1});
  return true;
}

Envelope SmtpConnection::MakeEnvelope(const ForwardPath& path,
                                      const ExpandedRecipient& to) const {
  Envelope envelope;
  envelope.kind = to.kind;
  envelope.action = to.action;
  envelope.tag = listener_->tag;
  envelope.smtpname = session_.name();
  envelope.helo = session_.helo();
  envelope.hostname = name_;
  envelope.username = session_.username();
  envelope.sockaddr = address_;
  envelope.sender = transaction_->sender.address;
  envelope.rcpt = path.address;
  envelope.dest = to.dest;
  if (HasAuthenticated()) envelope.flags |= kFlagAuthenticated;
  if (session_.tls()) envelope.flags |= kFlagTls;
  if (to.internal) envelope.flags |= kFlagInternal;
  envelope.dsn_notify = path.parameters.dsn_notify;
  envelope.dsn_orcpt = path.parameters.dsn_orcpt;
  envelope.mda_user = to.mda_user;
  envelope.mda_subaddress = to.mda_subaddress;
  envelope.mda_exec = to.mda_exec;
  envelope.routing_key = to.routing_key;
  TakeParameters(transaction_->sender.parameters, transaction_->begun,
                 &envelope);
  // Relative until the message is accepted.
  envelope.expires =
      absl::UnixEpoch() +
      (to.ttl > absl::ZeroDuration() ? to.ttl : services_->queue_ttl);
  return envelope;
}

void SmtpConnection::On(const TransactionReset&) {
  if (end_question_ != 0) return;  // the queue has it
  transaction_.reset();
  if (reading_ == nullptr) return;
  // The rest of a refused message is still read, at its rate.
  if (session_.InMessage()) {
    reading_->message.reset();
    reading_->text.reset();
  } else {
    reading_.reset();
  }
}

// ---- The message

// The queue has to take some before more is read.
bool SmtpConnection::MessageIsBlocked() const {
  if (message() == nullptr) return false;
  return reading_->text != nullptr ? reading_->text->Room() == 0
                                   : !message()->CanTake();
}

void SmtpConnection::On(const MessageStarts& asked) {
  if (filtering_ != nullptr) {
    // An id means nothing to the next queue.
    if (transaction_->generation != services_->queue->generation())
      return session_.Resume(asked.question, replies::TemporaryFailure());
    return BeginMessage(asked.question, transaction_->id);
  }
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
        self->owner_->PumpLater(self.get());
      });
}

std::string SmtpConnection::MakeReceivedHeader(MessageId id) const {
  ReceivedFacts facts;
  facts.mask_source = listener_->mask_source;
  facts.helo = session_.helo();
  facts.rdns = name_;
  facts.address = address_;
  facts.by = session_.name();
  facts.extended = session_.extended();
  facts.smtputf8 = transaction_->sender.parameters.smtputf8;
  facts.authenticated = HasAuthenticated();
  facts.tls = tls_;
  facts.tell_auth = listener_->received_auth;
  facts.username = session_.username();
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
  // The null sender is nobody's address.
  if (listener_->masquerade && session_.authenticated())
    headers.masquerade = transaction_->sender.address.ForPath();
  // What we put in front.
  std::string head = MakeReceivedHeader(id);
  if (IsJunk()) head.insert(0, kJunkHeader);
  reading_ = std::make_unique<Reading>();
  if (filtering_ != nullptr && !FiltersAreLost() &&
      filtering_->session->Wants(FilterPhase::kDataLine))
    reading_->text = std::make_unique<FilteredText>(filtering_->session,
                                                    std::exchange(head, {}));
  reading_->message = std::make_shared<IncomingMessage>(
      services_->queue, id, id_, std::move(headers), std::move(head),
      [weak = weak_from_this()] {
        if (auto self = weak.lock()) self->OnMessageProgress();
      });
  reading_->started = services_->loop->Elapsed();
  session_.Resume(question, replies::StartMail());
}

void SmtpConnection::On(const MessageBytes&) {
  if (message() != nullptr && reading_->text != nullptr)
    return reading_->text->Take(&session_);
  if (message() != nullptr) {
    message()->Take(&session_, &services_->scratch);
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
  const uint64_t most = listener_->smtp.max_message_size + kHeaderAllowance;
  return message()->raw_bytes() > most ||
         (reading_->text != nullptr && reading_->text->returned_bytes() > most);
}

void SmtpConnection::OnMessageProgress() {
  if (message() == nullptr) return;
  if (end_question_ != 0) {
    if (message()->failure() || message()->complete()) SubmitMessage();
  } else if (const auto failure = message()->failure()) {
    reading_->message.reset();
    RefuseText(ReplyFor(*failure));
  } else if (reading_->text != nullptr) {
    MoveText();
  }
  owner_->PumpLater(this);
}

void SmtpConnection::On(const MessageEnds& asked) {
  // Lost with the queue while filters decided.
  if (message() == nullptr)
    return session_.Resume(asked.question, RefusalOfText());
  const MessageHeaders::Verdict verdict =
      message()->Finish(&services_->scratch);
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
  if (transaction_->discard) return Discard(asked.question);
  end_question_ = asked.question;
  if (message()->failure() || message()->complete()) SubmitMessage();
}

// All chunks are kept, or one could not be.
void SmtpConnection::SubmitMessage() {
  const uint64_t question = std::exchange(end_question_, 0);
  const std::shared_ptr<IncomingMessage> message = std::move(reading_->message);
  reading_.reset();
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
    if (envelope.id == EnvelopeId{})
      envelope.id = MakeEnvelopeId(message->id(), low++);
    if (transaction_->quarantine) envelope.flags |= kFlagHeld;
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
  session_.SetMessageBytes(request.body.raw_bytes);
  services_->queue->Accept(
      std::move(request),
      [weak = weak_from_this(), question, id = message->id(),
       bytes = request.body.raw_bytes, chunks = message->has_chunks(),
       queue = services_->queue, lines = std::move(lines),
       filters = filtering_ == nullptr ? nullptr : filtering_->session](
          AcceptResult result) {
        const auto self = weak.lock();
        const bool told =
            self != nullptr && self->OnAccepted(question, id, result);
        // The filters hear of it in any case.
        if (!told && filters != nullptr)
          ReportEnd(filters.get(), id, bytes, result == AcceptResult::kOk);
        if (result == AcceptResult::kOk) {
          for (const std::string& line : lines) LogLine(LogLevel::kInfo, line);
        } else if (chunks) {
          queue->Drop(id);
        }
      });
}

bool SmtpConnection::OnAccepted(uint64_t question, MessageId message,
                                AcceptResult result) {
  end_question_ = 0;
  if (!IsTalking()) return false;
  session_.Resume(question, result == AcceptResult::kOk
                                ? replies::Accepted(ToString(message))
                                : ReplyFor(result));
  owner_->PumpLater(this);
  return true;
}

}  // namespace holdfast
