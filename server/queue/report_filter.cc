#include "server/queue/report_filter.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace holdfast {
namespace {

using Verdict = FilterDecision::Verdict;

// What is said where nobody could be asked.
constexpr char kNobody[] = "421 4.3.0 Filters are not there";

}  // namespace

std::shared_ptr<ReportFilter> ReportFilter::Begin(FilterClient* client,
                                                  Facts facts,
                                                  FilteredSessionOwner* owner,
                                                  Ended ended) {
  FilterSession session;
  session.session = facts.session;
  session.filter = facts.filter;
  session.rdns = facts.host;
  session.fcrdns = "pass";
  session.source = session.destination = absl::StrCat("unix:", facts.path);
  std::shared_ptr<FilteredSession> begun =
      client->Begin(std::move(session), owner);
  if (begun == nullptr) return nullptr;
  std::shared_ptr<ReportFilter> filter(
      new ReportFilter(std::move(facts), std::move(ended)));
  filter->session_ = std::move(begun);
  return filter;
}

ReportFilter::~ReportFilter() {
  session_->ForgetOwner();
  if (!open_) return;
  session_->DropText();
  Tx(FilterEvent::kTxRollback);
  Tx(FilterEvent::kTxReset);
}

// ---- the steps

void ReportFilter::Greet(Next next) {
  Ask(FilterPhase::kConnect, "",
      [this, next = std::move(next)](const std::string&) mutable {
        Server(replies::Banner(facts_.host));
        session_->Report(FilterEvent::kLinkGreeting, {facts_.host});
        Client(absl::StrCat("EHLO ", facts_.helo));
        Ask(FilterPhase::kEhlo, facts_.helo,
            [this, next = std::move(next)](const std::string& name) mutable {
              if (!name.empty()) facts_.helo = name;
              session_->Report(FilterEvent::kLinkIdentify,
                               {"EHLO", facts_.helo});
              Server({250, "",
                      absl::StrCat(facts_.host, " Hello ", facts_.helo,
                                   " [local], pleased to meet you\n8BITMIME\n"
                                   "ENHANCEDSTATUSCODES\nHELP")});
              next();
            });
      });
}

void ReportFilter::Mail(MessageId message, Next next) {
  message_ = message;
  Client("MAIL FROM:<>");
  Ask(FilterPhase::kMailFrom, "",
      [this, next = std::move(next)](const std::string&) mutable {
        open_ = true;
        Server(replies::Ok());
        Tx(FilterEvent::kTxBegin);
        Tx(FilterEvent::kTxMail, {"ok", ""});
        next();
      });
}

void ReportFilter::Rcpt(
    const std::string& address,
    absl::AnyInvocable<void(const std::string& rewritten)> next) {
  rcpt_ = address;
  Client(absl::StrCat("RCPT TO:<", address, ">"));
  Ask(FilterPhase::kRcptTo, address, std::move(next));
}

void ReportFilter::RcptTaken(const std::vector<EnvelopeId>& envelopes) {
  for (const EnvelopeId id : envelopes)
    Tx(FilterEvent::kTxEnvelope, {ToString(id)});
  Server(replies::RecipientOk());
  Tx(FilterEvent::kTxRcpt, {"ok", rcpt_});
}

void ReportFilter::RcptRefused(const std::string& line) {
  session_->Report(FilterEvent::kProtocolServer, {line});
  Tx(FilterEvent::kTxRcpt, {line[0] == '4' ? "tempfail" : "permfail", rcpt_});
}

void ReportFilter::Data(Next next) {
  Client("DATA");
  Ask(FilterPhase::kData, "",
      [this, next = std::move(next)](const std::string&) mutable {
        Server(replies::StartMail());
        Tx(FilterEvent::kTxData, {"ok"});
        next();
      });
}

bool ReportFilter::WantsText() const {
  return session_->Wants(FilterPhase::kDataLine);
}

void ReportFilter::Commit(Next next) {
  Client(".");
  Ask(FilterPhase::kCommit, "",
      [next = std::move(next)](const std::string&) mutable { next(); });
}

void ReportFilter::Accepted(uint64_t size) {
  Server(replies::Accepted(ToString(message_)));
  Tx(FilterEvent::kTxCommit, {absl::StrCat(size)});
  Tx(FilterEvent::kTxReset);
  open_ = false;
  session_->ForgetOwner();
  ended_ = nullptr;
  Client("QUIT");
  // Until it is answered this keeps itself.
  Ask(FilterPhase::kQuit, "", [self = shared_from_this()](const std::string&) {
    self->Server(replies::Bye());
  });
}

// ---- questions

void ReportFilter::Ask(
    FilterPhase phase, const std::string& argument,
    absl::AnyInvocable<void(const std::string& rewritten)> next) {
  if (!session_->lost() && !session_->Wants(phase)) return next("");
  session_->Ask(
      phase, argument, "",
      [this, next = std::move(next)](const FilterDecision* decision) mutable {
        // Who hears of it may drop this.
        const auto self = shared_from_this();
        OnDecision(decision, std::move(next));
      });
}

void ReportFilter::OnDecision(
    const FilterDecision* decision,
    absl::AnyInvocable<void(const std::string&)> next) {
  if (decision == nullptr) return End(/*discard=*/false, kNobody);
  switch (decision->verdict) {
    case Verdict::kJunk:
      junk_ = true;
      return next("");
    case Verdict::kProceed:
      return next("");
    case Verdict::kRewrite:
      return next(decision->text);
    case Verdict::kDiscard:
      return End(/*discard=*/true, "discarded by the filter");
    case Verdict::kReject:
    case Verdict::kDisconnect:
      break;
  }
  session_->Report(FilterEvent::kProtocolServer, {decision->text});
  End(/*discard=*/false, decision->text);
}

void ReportFilter::End(bool discard, std::string line) {
  if (ended_ == nullptr) return;
  Ended ended = std::exchange(ended_, nullptr);
  ended(discard, std::move(line));
}

// ---- events

void ReportFilter::Client(std::string line) {
  session_->Report(FilterEvent::kProtocolClient, {std::move(line)});
}

void ReportFilter::Server(const Reply& reply) {
  if (!session_->Wants(FilterEvent::kProtocolServer)) return;
  std::string wire;
  reply.AppendTo(&wire);
  for (const absl::string_view line :
       absl::StrSplit(wire, "\r\n", absl::SkipEmpty()))
    session_->Report(FilterEvent::kProtocolServer, {std::string(line)});
}

void ReportFilter::Tx(FilterEvent event, std::vector<std::string> fields) {
  fields.insert(fields.begin(), ToString(message_));
  session_->Report(event, std::move(fields));
}

}  // namespace holdfast
