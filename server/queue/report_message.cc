// What the report of a ReportJob says, and where it goes.
#include <set>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "protocol/idna.h"
#include "protocol/received_header.h"
#include "protocol/vis.h"
#include "server/log/log.h"
#include "server/queue/report_job.h"

namespace holdfast {
namespace {

ReportAction ActionOf(ReportKind kind) {
  switch (kind) {
    case ReportKind::kFailed:
      return ReportAction::kFailed;
    case ReportKind::kDelayed:
      return ReportAction::kDelayed;
    case ReportKind::kDelivered:
      return ReportAction::kDelivered;
    case ReportKind::kRelayed:
      return ReportAction::kRelayed;
  }
  return ReportAction::kFailed;
}

// Of "192.0.2.9 (mx.example.net)" the name, else the address.
std::string RemoteMta(absl::string_view relay) {
  const size_t open = relay.find(" (");
  if (open == absl::string_view::npos) {
    return relay.empty() ? "" : absl::StrCat("[", relay, "]");
  }
  absl::string_view name = relay.substr(open + 2);
  absl::ConsumeSuffix(&name, ")");
  return std::string(name);
}

// Whether `error_line` is what the next hop answered then, cut or not.
bool IsAnswerOf(const Attempt& attempt, absl::string_view error_line) {
  absl::string_view answer = attempt.answer;
  if (answer.size() >= kMaxAttemptAnswer) absl::ConsumeSuffix(&answer, "...");
  return !answer.empty() && absl::StartsWith(error_line, answer);
}

ReportedRecipient Reported(const Envelope& envelope) {
  ReportedRecipient recipient;
  recipient.dest = envelope.dest;
  recipient.dsn_orcpt = envelope.dsn_orcpt;
  recipient.status = envelope.status;
  recipient.error_line = envelope.error_line;
  recipient.expires = envelope.expires;
  if (envelope.attempts.empty()) return recipient;
  const Attempt& last = envelope.attempts.back();
  // One in doubt may have neither time nor host.
  if (last.began > absl::UnixEpoch())
    recipient.last_attempt = last.began + last.took;
  if (envelope.kind == DeliveryKind::kMta &&
      IsAnswerOf(last, envelope.error_line)) {
    recipient.remote_mta = RemoteMta(last.relay);
  }
  return recipient;
}

}  // namespace

DeliveryReport ReportJob::Describe() const {
  const Envelope& first = group_.reports.front().envelope;
  DeliveryReport report;
  report.action = ActionOf(group_.kind);
  report.smtpname = group_.smtpname;
  report.to = group_.sender();
  report.date = services_->loop()->Now();
  report.zone = absl::LocalTimeZone();
  report.boundary = absl::Uniform<uint64_t>(services_->random());
  report.delay = group_.delay;
  report.ttl = first.expires - first.Released();
  report.dsn_envid = first.dsn_envid;
  report.arrival = first.created;
  report.message_id = absl::StrFormat(
      "%016x@%s", absl::Uniform<uint64_t>(services_->random()), ServerName());
  report.full = quote_ == Quote::kAll;
  // Octets above 127 in what is quoted are not known before it is read; the
  // label is true for seven bits, too.
  report.eight_bit = quote_ != Quote::kNothing;
  // Where there is hardly any room, there is none for many words.
  if (group_.words != nullptr && !small_)
    report.words = group_.words->For(report.action);
  report.utf8 = (first.flags & kFlagSmtpUtf8) != 0 || !IsAscii(Recipient());
  for (const PendingReport& r : group_.reports)
    report.utf8 |= !IsAscii(r.envelope.dest.ToString());
  report.deliver_by = first.deliver_by;
  for (const PendingReport& r : group_.reports)
    report.recipients.push_back(Reported(r.envelope));
  return report;
}

// A domain in UTF-8 alone asks nothing of the next hop.
std::string ReportJob::Recipient() const {
  const std::string path = rcpt_.ToString();
  return PathToAscii(path).value_or(path);
}

std::string ReportJob::Received() const {
  ReceivedFacts facts;
  facts.helo = helo_;
  facts.rdns = ServerName();
  facts.address = "local";
  facts.by = ServerName();
  facts.extended = true;
  facts.authenticated = true;
  facts.message = id_;
  facts.recipient = Recipient();
  facts.now = report_.date;
  facts.zone = report_.zone;
  return ReceivedHeader(facts);
}

void ReportJob::MakeEnvelopeIds() {
  ids_.clear();
  std::set<uint32_t> used = {0};
  while (ids_.size() < recipients_.size()) {
    const auto low = absl::Uniform<uint32_t>(services_->random());
    if (used.insert(low).second) ids_.push_back(MakeEnvelopeId(id_, low));
  }
}

std::vector<Envelope> ReportJob::MakeEnvelopes() const {
  std::vector<Envelope> envelopes;
  for (size_t i = 0; i < recipients_.size(); ++i) {
    const ExpandedRecipient& r = recipients_[i];
    Envelope e;
    e.id = ids_[i];
    e.kind = r.kind;
    e.action = r.action;
    e.smtpname = ServerName();
    e.helo = helo_;
    e.hostname = ServerName();
    e.sockaddr = "local";
    e.rcpt = rcpt_;
    e.dest = r.dest;
    e.created = report_.date;
    e.expires =
        e.created +
        (r.ttl > absl::ZeroDuration() ? r.ttl : services_->config().queue_ttl);
    e.flags = kFlagBounce | kFlagAuthenticated |
              (r.internal ? kFlagInternal : uint32_t{0});
    // It is protected like the original (RFC 8689 section 5).  Its header is
    // ASCII but for the address it goes to.
    e.flags |= group_.reports.front().envelope.flags & kFlagRequireTls;
    if (!IsAscii(Recipient())) e.flags |= kFlagSmtpUtf8;
    e.mda_user = r.mda_user;
    e.mda_subaddress = r.mda_subaddress;
    e.mda_exec = r.mda_exec;
    e.routing_key = r.routing_key;
    envelopes.push_back(std::move(e));
  }
  return envelopes;
}

std::string ReportJob::ServerName() const {
  const Config& config = services_->config();
  return config.socket_listener.hostname.empty()
             ? config.server_name
             : config.socket_listener.hostname;
}

// What the local session that this stands for would have logged.
void ReportJob::LogSession(const std::vector<Envelope>& envelopes,
                           uint64_t size) const {
  const std::string session = ToString(session_);
  LogInfo("%s smtp connected address=local host=%s", session, ServerName());
  LogInfo("%s smtp message msgid=%s size=%d nrcpt=1 proto=ESMTP", session,
          ToString(id_), size);
  if (!envelopes.empty())
    LogInfo("%s smtp envelope evpid=%s from=<> to=<%s>", session,
            ToString(envelopes.back().id), VisEncode(rcpt_.ToString()));
  LogInfo("%s smtp disconnected reason=quit", session);
}

}  // namespace holdfast
