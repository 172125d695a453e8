// An SmtpConnection and its filters: what they are told and asked, and what
// becomes of what they say (smtpd-filters(7); reference part 2, section 7).
#include <algorithm>
#include <optional>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/reply.h"
#include "protocol/smtp_path.h"
#include "protocol/vis.h"
#include "server/log/log.h"
#include "server/receive/smtp_connection.h"

namespace holdfast {
namespace {

// The room is gone that knew this session.
constexpr uint32_t kEveryPhase =
    ((uint32_t{1} << kFilterPhases) - 1) & ~MaskOf(FilterPhase::kDataLine);
constexpr char kNotNow[] = "451 4.3.0 Temporary failure";

FilterVerdict VerdictOf(FilterDecision::Verdict verdict) {
  switch (verdict) {
    case FilterDecision::Verdict::kReject:
      return FilterVerdict::kReject;
    case FilterDecision::Verdict::kDisconnect:
      return FilterVerdict::kDisconnect;
    case FilterDecision::Verdict::kRewrite:
      return FilterVerdict::kRewrite;
    default:
      return FilterVerdict::kProceed;
  }
}

bool ChangesEnvelopes(const FilterDecision& decision) {
  return decision.changes_sender || !decision.remove_recipients.empty() ||
         !decision.add_recipients.empty();
}

}  // namespace

// ---- The session of the filters

void SmtpConnection::SetEnds(std::string source, std::string destination) {
  if (filtering_ == nullptr) return;
  filtering_->source = std::move(source);
  filtering_->destination = std::move(destination);
}

// Before the banner: they may still be starting.
void SmtpConnection::AskForWants() {
  if (services_->filters->Wants(listener_->filter) != nullptr) return;
  ++open_facts_;
  filtering_->waits_for_wants = true;
  filtering_->patience =
      services_->loop->RunAfter(kFilterPatience, [this] { GiveUpWaiting(); });
}

// In TLS from the first byte there is nobody to tell yet.
void SmtpConnection::GiveUpWaiting() {
  if (phase_ != Phase::kNaming || !filtering_->waits_for_wants) return;
  LogInfo("%s smtp refused address=%s result=\"%s\"", ToString(id_), address_,
          kFiltersLost);
  if (listener_->smtp.tls != SmtpServerOptions::Tls::kWrapped)
    stream_->Write(absl::StrCat(kFiltersLost, "\r\n"));
  Linger();
}

void SmtpConnection::MeetFilters() {
  FilterSession begins;
  begins.session = id_;
  begins.filter = listener_->filter;
  begins.rdns = name_;
  begins.fcrdns = filtering_->fcrdns;
  begins.source = filtering_->source;
  begins.destination = filtering_->destination;
  if (listener_->socket) {
    begins.source = begins.destination =
        absl::StrCat("unix:", services_->enqueue_socket);
  }
  filtering_->session = services_->filters->Begin(std::move(begins), this);
  UpdateFilters();
}

// False if they have gone meanwhile, and are waited for once more.
bool SmtpConnection::BeginFiltering() {
  MeetFilters();
  if (filtering_->session != nullptr) return true;
  AskForWants();
  return false;
}

// XCLIENT: the client is another one.  Filters see it as one that comes.
void SmtpConnection::RestartFiltering(const XclientAsked& asked) {
  std::string port = "0";
  std::string user;
  for (const auto& [attribute, value] : asked.attributes) {
    if (attribute == "PORT") port = value;
    if (attribute == "LOGIN" && !absl::StartsWith(value, "[")) user = value;
    if (attribute == "NAME")
      filtering_->fcrdns = value == "[UNAVAILABLE]"   ? "fail"
                           : value == "[TEMPUNAVAIL]" ? "error"
                                                      : "pass";
  }
  filtering_->session.reset();
  filtering_->source = absl::StrCat(address_, ":", port);
  filtering_->junk = false;
  MeetFilters();
  if (!user.empty()) Report(FilterEvent::kLinkAuth, {"pass", user});
}

bool SmtpConnection::FiltersAreLost() const {
  return filtering_->session == nullptr || filtering_->session->lost();
}

// What they want of the session now; if they are lost, its next command is to
// end it.
void SmtpConnection::UpdateFilters() {
  if (FiltersAreLost()) return session_.SetFilters({kEveryPhase, 0});
  const FilterWants& wants = filtering_->session->wants();
  session_.SetFilters({wants.phases, wants.in});
}

void SmtpConnection::OnFiltersChanged() {
  if (filtering_ == nullptr) return;
  if (phase_ == Phase::kNaming) {
    if (!filtering_->waits_for_wants ||
        services_->filters->Wants(listener_->filter) == nullptr)
      return;
    filtering_->waits_for_wants = false;
    filtering_->patience.reset();
    return OnFact();
  }
  UpdateFilters();
  owner_->PumpLater(this);
}

// The session is over, for them too.  What the queue is about to keep is told
// when it has been kept.
void SmtpConnection::EndFiltering() {
  if (filtering_ == nullptr || filtering_->session == nullptr) return;
  if (end_question_ != 0 && reading_ == nullptr) session_.SetMessageId("");
  session_.Abandon();
  while (std::optional<SmtpServerEvent> event = session_.Next()) {
    if (FilterTold* told = std::get_if<FilterTold>(&*event)) On(*told);
    if (std::get_if<AuthCancelled>(&*event)) On(AuthCancelled{});
  }
  filtering_->session->ForgetText();
  reading_.reset();
  filtering_->session->ForgetOwner();
  filtering_->session.reset();
}

void SmtpConnection::Report(FilterEvent event,
                            std::vector<std::string> fields) {
  if (filtering_ != nullptr && filtering_->session != nullptr)
    filtering_->session->Report(event, std::move(fields));
}

void SmtpConnection::On(FilterTold& told) {
  Report(told.event, std::move(told.fields));
}

// ---- Questions

void SmtpConnection::On(FilterAsked& asked) {
  if (asked.phase == FilterPhase::kMailFrom) filtering_->discard = false;
  if (FiltersAreLost()) {
    return session_.ResumeFilter(asked.question, FilterVerdict::kDisconnect,
                                 kFiltersLost);
  }
  filtering_->session->Ask(
      asked.phase, std::move(asked.argument), std::move(asked.parameters),
      [weak = weak_from_this(), question = asked.question,
       phase = asked.phase](const FilterDecision* decision) {
        const auto self = weak.lock();
        if (self == nullptr) return;
        self->OnDecision(question, phase, decision);
        self->owner_->PumpLater(self.get());
      });
}

void SmtpConnection::OnDecision(uint64_t question, FilterPhase phase,
                                const FilterDecision* decision) {
  if (decision != nullptr) return Proceed(question, phase, *decision);
  // They are gone, and so is what they knew of a message.
  if (phase == FilterPhase::kConnect || session_.InMessage()) {
    session_.ResumeFilter(question, FilterVerdict::kDisconnect, kFiltersLost);
  } else {
    session_.ResumeFilter(question, FilterVerdict::kReject, kNotNow);
  }
}

void SmtpConnection::Proceed(uint64_t question, FilterPhase phase,
                             const FilterDecision& decision) {
  using Verdict = FilterDecision::Verdict;
  if (decision.verdict == Verdict::kJunk)
    (transaction_ != nullptr ? transaction_->junk : filtering_->junk) = true;
  if (decision.verdict == Verdict::kDiscard)
    (transaction_ != nullptr ? transaction_->discard : filtering_->discard) =
        true;
  const FilterVerdict verdict = VerdictOf(decision.verdict);
  const bool goes_on = verdict == FilterVerdict::kProceed;
  if (phase == FilterPhase::kCommit && goes_on && transaction_ != nullptr) {
    if (decision.quarantine) {
      transaction_->quarantine = true;
      LogInfo("%s smtp message msgid=%s held by a filter: %s", ToString(id_),
              ToString(transaction_->id), VisEncode(decision.reason));
    }
    if (ChangesEnvelopes(decision)) return ChangeEnvelopes(question, decision);
  }
  session_.ResumeFilter(question, verdict, decision.text);
}

// ---- Envelopes that a milter changes

void SmtpConnection::ChangeEnvelopes(uint64_t question,
                                     const FilterDecision& decision) {
  if (!ChangeSender(decision)) {
    LogWarn("warn: %s smtp: a filter gave a bad sender: %s", ToString(id_),
            VisEncode(decision.sender));
    return session_.ResumeFilter(question, FilterVerdict::kReject, kNotNow);
  }
  for (const std::string& address : decision.remove_recipients)
    RemoveRecipient(address);
  AddRecipients(question, decision.add_recipients, 0);
}

bool SmtpConnection::ChangeSender(const FilterDecision& decision) {
  if (!decision.changes_sender) return true;
  ParameterRules rules;
  const std::string argument =
      absl::StrCat(decision.sender,
                   transaction_->sender.parameters.smtputf8 ? " SMTPUTF8" : "");
  const auto parsed = ParseMailArgument(argument, {session_.name(), rules});
  const ReversePath* const path = std::get_if<ReversePath>(&parsed);
  if (path == nullptr) return false;
  transaction_->sender.address = path->address;
  for (Envelope& envelope : transaction_->envelopes)
    envelope.sender = path->address;
  return true;
}

// In SMTP form, as the client may have written it: `<"joe"@c.test>`, and
// `<joe>` without the domain.
std::string SmtpConnection::PrintedPath(absl::string_view address) const {
  ParameterRules rules;
  rules.smtputf8 = transaction_->sender.parameters.smtputf8;
  const auto parsed = ParseRcptArgument(address, {session_.name(), rules});
  const ForwardPath* const path = std::get_if<ForwardPath>(&parsed);
  if (path == nullptr) return std::string(address);
  return absl::StrCat("<", path->address.ForPath(), ">");
}

// One that is not there is no error.
void SmtpConnection::RemoveRecipient(absl::string_view address) {
  const std::string removed = PrintedPath(address);
  std::vector<Recipient> recipients;
  std::vector<Envelope> envelopes;
  size_t begin = 0;
  for (Recipient& recipient : transaction_->recipients) {
    const size_t end = recipient.last_envelope + 1;
    const std::string path =
        absl::StrCat("<", recipient.address.ForPath(), ">");
    if (!absl::EqualsIgnoreCase(path, removed)) {
      std::move(transaction_->envelopes.begin() + begin,
                transaction_->envelopes.begin() + end,
                std::back_inserter(envelopes));
      recipients.push_back({recipient.address, envelopes.size() - 1});
    }
    begin = end;
  }
  transaction_->recipients = std::move(recipients);
  transaction_->envelopes = std::move(envelopes);
}

// One after the other, as if the client had named them.
void SmtpConnection::AddRecipients(uint64_t question,
                                   std::vector<std::string> addresses,
                                   size_t next) {
  if (next == addresses.size()) {
    // For nobody: then it is taken, and forgotten.
    if (transaction_->recipients.empty()) transaction_->discard = true;
    return session_.ResumeFilter(question, FilterVerdict::kProceed);
  }
  ParameterRules rules;
  rules.smtputf8 = transaction_->sender.parameters.smtputf8;
  auto parsed = ParseRcptArgument(addresses[next], {session_.name(), rules});
  const auto refuse = [this, question,
                       address = addresses[next]](absl::string_view why) {
    LogWarn("warn: %s smtp: recipient %s of a filter: %s", ToString(id_),
            VisEncode(address), VisEncode(std::string(why)));
    session_.ResumeFilter(question, FilterVerdict::kReject, kNotNow);
  };
  if (const Reply* refusal = std::get_if<Reply>(&parsed))
    return refuse(refusal->FirstLine());
  const ForwardPath& path = std::get<ForwardPath>(parsed);
  services_->lookup->Expand(
      ExpandRequestFor(path.address),
      [weak = weak_from_this(), question, path, next, refuse,
       addresses = std::move(addresses)](const ExpandAnswer& answer) mutable {
        const auto self = weak.lock();
        if (self == nullptr || self->transaction_ == nullptr) return;
        if (!answer.refusal.empty() || answer.recipients.empty()) {
          refuse(answer.refusal);
        } else if (!self->AddRecipient(path, answer)) {
          refuse("Too many recipients");
        } else {
          self->AddRecipients(question, std::move(addresses), next + 1);
        }
        self->owner_->PumpLater(self.get());
      });
}

// ---- The transaction

// Filters name messages from MAIL on.
void SmtpConnection::LeaseId(uint64_t question) {
  transaction_->discard = std::exchange(filtering_->discard, false);
  transaction_->next_envelope =
      absl::Uniform<uint32_t>(services_->random, 1, uint32_t{1} << 31);
  services_->queue->RequestId(
      [weak = weak_from_this(), question](std::optional<MessageId> id) {
        const auto self = weak.lock();
        if (self == nullptr || self->transaction_ == nullptr) return;
        if (id) {
          self->transaction_->id = *id;
          self->transaction_->generation = self->services_->queue->generation();
          self->session_.SetMessageId(ToString(*id));
          self->session_.Resume(question, replies::Ok());
        } else {
          self->transaction_.reset();
          self->session_.Resume(question, replies::TemporaryFailure());
        }
        self->owner_->PumpLater(self.get());
      });
}

bool SmtpConnection::IsJunk() const {
  return filtering_ != nullptr && (filtering_->junk || transaction_->junk);
}

// The client hears that it was taken; nobody gets it.
void SmtpConnection::Discard(uint64_t question) {
  const MessageId id = transaction_->id;
  LogInfo("%s smtp message msgid=%s discarded by a filter from=<%s>",
          ToString(id_), ToString(id),
          VisEncode(transaction_->sender.address.ForPath()));
  session_.SetMessageBytes(message()->raw_bytes());
  reading_.reset();
  session_.Resume(question, replies::Accepted(ToString(id)));
}

// ---- The text

void SmtpConnection::On(const MessageTextEnds& asked) {
  if (message() == nullptr || reading_->text == nullptr ||
      reading_->refusal.has_value())
    return session_.Resume(asked.question, RefusalOfText());
  filtering_->text_question = asked.question;
  reading_->text->End();
}

void SmtpConnection::OnFilterText(absl::string_view bytes, bool end) {
  if (reading_ == nullptr || reading_->text == nullptr) return;
  reading_->text->OnReturned(bytes, end);
  MoveText();
}

// As much as the message can take.
void SmtpConnection::MoveText() {
  if (message() == nullptr) return;
  reading_->text->MoveTo(message(), &services_->scratch);
  if (MessageIsTooBig()) {
    RefuseText(replies::MessageTooBig());
  } else if (reading_->text->complete() && filtering_->text_question != 0) {
    session_.Resume(std::exchange(filtering_->text_question, 0), replies::Ok());
  }
  owner_->PumpLater(this);
}

void SmtpConnection::OnFilterTextRoom() { owner_->PumpLater(this); }

void SmtpConnection::OnFilterTextFailed(const std::string& reply) {
  RefuseText(RefusalFromText(reply, 451));
  owner_->PumpLater(this);
}

// While the message is read, or while its text is on its way.  Between the two,
// when its end waits for room, the session has nothing to answer yet: it hears
// of it when it asks.
void SmtpConnection::RefuseText(Reply reply) {
  const bool ending = filtering_ != nullptr && filtering_->text_question != 0;
  if (ending)
    return session_.Resume(std::exchange(filtering_->text_question, 0),
                           std::move(reply));
  if (reading_ != nullptr && !reading_->refusal) reading_->refusal = reply;
  session_.RefuseMessage(std::move(reply));
}

// What a message hears whose text has failed.
Reply SmtpConnection::RefusalOfText() const {
  return reading_ != nullptr && reading_->refusal ? *reading_->refusal
                                                  : replies::TemporaryError();
}

}  // namespace holdfast
