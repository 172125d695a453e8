#include "server/queue/report_job.h"

#include <algorithm>
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

std::string ReportGroup::Key() const {
  return absl::StrCat(ToString(message), "|", smtpname, "|",
                      static_cast<int>(kind), "|", absl::ToInt64Seconds(delay),
                      "|", static_cast<int>(ret), "|", words_from);
}

std::vector<ReportKey> ReportGroup::Keys() const {
  std::vector<ReportKey> keys;
  keys.reserve(reports.size());
  for (const PendingReport& r : reports) keys.push_back(r.key);
  return keys;
}

ReportJob::ReportJob(QueueServices* services, ReportGroup group, bool small,
                     Done done)
    : services_(services),
      group_(std::move(group)),
      small_(small),
      done_(std::move(done)) {
  // What must not be seen (RFC 8689 section 5), or would make the report
  // binary, is not returned whole.
  const uint32_t flags = group_.reports.front().envelope.flags;
  const bool full = group_.kind == ReportKind::kFailed &&
                    group_.ret == DsnReturn::kFull &&
                    (flags & (kFlagRequireTls | kFlagBinaryMime)) == 0;
  quote_ = full && !small_ ? Quote::kAll : Quote::kHeaders;
}

void ReportJob::Start() {
  ExpandRequest request;
  request.sockaddr = "local";
  request.rdns = ServerName();
  request.helo = group_.smtpname;
  request.authenticated = true;
  request.smtpname = ServerName();
  request.rcpt = group_.sender();
  services_->Expand(std::move(request),
                    [weak = weak_from_this()](ExpandAnswer answer) {
                      if (auto self = weak.lock())
                        self->OnExpanded(std::move(answer));
                    });
}

void ReportJob::OnExpanded(ExpandAnswer answer) {
  if (answer.refusal.empty() && answer.recipients.empty())
    answer.refusal = "550 Invalid recipient";
  if (!answer.refusal.empty()) {
    const bool permanent = answer.refusal[0] == '5' || answer.refusal[0] == '6';
    return Finish(
        permanent ? Result::kRefused : Result::kLater,
        absl::StrCat(answer.refusal, ": <", group_.sender().ForPath(), ">"));
  }
  recipients_ = std::move(answer.recipients);
  TakeId();
}

void ReportJob::TakeId() {
  services_->TakeMessageId([weak = weak_from_this()](MessageId id) {
    if (auto self = weak.lock()) self->Begin(id);
  });
}

void ReportJob::Begin(MessageId id) {
  id_ = id;
  report_ = Describe();
  compressor_.emplace();
  compressed_.reset();
  chunks_.clear();
  stored_chunks_ = 0;
  quoted_ = 0;
  line_empty_ = true;
  quoted_all_ = quote_ == Quote::kNothing;
  Write(Received());
  Write(ReportHead(report_));
  if (quoted_all_) return End();
  reader_.emplace(services_->loop(), services_->store(), group_.message);
  ReadNext();
}

void ReportJob::ReadNext() {
  if (quoted_all_) return End();
  reader_->Read(
      [weak = weak_from_this()](absl::StatusOr<StoredBodyReader::Piece> piece) {
        if (auto self = weak.lock()) self->OnPiece(std::move(piece));
      });
}

void ReportJob::OnPiece(absl::StatusOr<StoredBodyReader::Piece> piece) {
  if (!piece.ok()) {
    // An original that is lost or damaged stays so: its sender is told all the
    // same.
    if (absl::IsDataLoss(piece.status()) || absl::IsNotFound(piece.status())) {
      LogWarn(
          "warn: queue: original of a report cannot be read: message %s: %s",
          ToString(group_.message),
          VisEncode(std::string(piece.status().message())));
      return Restart(Quote::kNothing);
    }
    DropBody();
    return Finish(Result::kLater, "Error reading message");
  }
  if (quote_ == Quote::kAll &&
      quoted_ + piece->bytes.size() > kMaxReturnedMessage)
    return Restart(Quote::kHeaders);
  Write(absl::string_view(piece->bytes).substr(0, Quotable(piece->bytes)));
  if (piece->end) quoted_all_ = true;
  StoreChunks(&ReportJob::ReadNext);
}

size_t ReportJob::Quotable(absl::string_view bytes) {
  if (quote_ == Quote::kAll) {
    quoted_ += bytes.size();
    return bytes.size();
  }
  const size_t limit = small_ ? kMaxSmallHeaders : kMaxQuotedHeaders;
  size_t at = 0;
  while (at < bytes.size()) {
    // The empty line behind the headers is not quoted.
    if (line_empty_ && bytes[at] == '\n') {
      quoted_all_ = true;
      break;
    }
    // Cut at the end of a line, if that is to be had.
    if (quoted_ + at >= (line_empty_ ? limit / 2 : limit)) {
      quoted_all_ = true;
      break;
    }
    line_empty_ = bytes[at] == '\n';
    ++at;
  }
  quoted_ += at;
  return at;
}

void ReportJob::Write(absl::string_view raw) {
  for (std::string& chunk : compressor_->Write(raw))
    chunks_.push_back(std::move(chunk));
}

void ReportJob::StoreChunks(void (ReportJob::*next)()) {
  if (chunks_.empty()) return (this->*next)();
  QueueBatch batch;
  for (std::string& bytes : chunks_) {
    StoreChunk chunk;
    chunk.message = id_;
    chunk.session = static_cast<uint32_t>(id_);
    chunk.index = stored_chunks_++;
    chunk.bytes = std::move(bytes);
    batch.push_back(std::move(chunk));
  }
  chunks_.clear();
  services_->Commit(std::move(batch),
                    [weak = weak_from_this(), next](BatchResult result) {
                      auto self = weak.lock();
                      if (!self) return;
                      if (!result.status.ok())
                        return self->OnStoreError(result.status);
                      for (const OperationResult& r : result.operations)
                        if (!r.status.ok()) return self->OnStoreError(r.status);
                      (self.get()->*next)();
                    });
}

void ReportJob::End() {
  reader_.reset();
  Write(ReportTail(report_));
  compressed_ = compressor_->Finish();
  compressor_.reset();
  if (compressed_->info.chunks > 1 || stored_chunks_ > 0) {
    for (std::string& chunk : compressed_->chunks)
      chunks_.push_back(std::move(chunk));
    compressed_->chunks.clear();
  }
  StoreChunks(&ReportJob::Accept);
}

void ReportJob::Accept() {
  AcceptMessage accept;
  accept.message = id_;
  accept.body = compressed_->info;
  if (!compressed_->chunks.empty())
    accept.stored = std::move(compressed_->chunks.front());
  accept.created = report_.date;
  accept.envelopes = MakeEnvelopes();
  accept.settles = group_.Keys();
  const uint64_t size = compressed_->info.raw_bytes;
  std::vector<Envelope> envelopes = accept.envelopes;
  QueueBatch batch;
  batch.push_back(std::move(accept));
  services_->Commit(std::move(batch),
                    [weak = weak_from_this(), size,
                     envelopes = std::move(envelopes)](BatchResult result) {
                      auto self = weak.lock();
                      if (!self) return;
                      const absl::Status status =
                          result.status.ok() && !result.operations.empty()
                              ? result.operations[0].status
                              : result.status;
                      if (!status.ok()) return self->OnStoreError(status);
                      self->LogSession(envelopes, size);
                      self->Finish(Result::kSettled, "250 2.0.0 Ok");
                    });
}

void ReportJob::OnStoreError(const absl::Status& status) {
  if (absl::IsResourceExhausted(status) && !small_) {
    small_ = true;
    return Restart(std::max(quote_, Quote::kHeaders));
  }
  DropBody();
  if (absl::IsResourceExhausted(status))
    return Finish(Result::kNoRoom, "452 4.3.1 Mail system full");
  Finish(Result::kLater, absl::StrCat("421 ", status.message()));
}

void ReportJob::DropBody() {
  if (stored_chunks_ == 0) return;
  stored_chunks_ = 0;
  QueueBatch batch;
  batch.push_back(DropIncoming{id_});
  services_->Commit(std::move(batch), [](BatchResult) {});
}

void ReportJob::Restart(Quote quote) {
  DropBody();
  quote_ = quote;
  TakeId();
}

void ReportJob::Finish(Result result, std::string line) {
  Done done = std::move(done_);
  done(result, std::move(line));
}

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
  const std::string path = group_.sender().ToString();
  return PathToAscii(path).value_or(path);
}

std::string ReportJob::Received() const {
  ReceivedFacts facts;
  facts.helo = group_.smtpname;
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

std::vector<Envelope> ReportJob::MakeEnvelopes() {
  std::vector<Envelope> envelopes;
  std::set<uint32_t> used = {0};
  for (const ExpandedRecipient& r : recipients_) {
    uint32_t low = 0;
    while (!used.insert(low).second)
      low = absl::Uniform<uint32_t>(services_->random());
    Envelope e;
    e.id = MakeEnvelopeId(id_, low);
    e.kind = r.kind;
    e.action = r.action;
    e.smtpname = ServerName();
    e.helo = group_.smtpname;
    e.hostname = ServerName();
    e.sockaddr = "local";
    e.rcpt = group_.sender();
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
  const std::string session =
      ToString(SessionId(absl::Uniform<uint64_t>(services_->random())));
  LogInfo("%s smtp connected address=local host=%s", session, ServerName());
  LogInfo("%s smtp message msgid=%s size=%d nrcpt=1 proto=ESMTP", session,
          ToString(id_), size);
  if (!envelopes.empty())
    LogInfo("%s smtp envelope evpid=%s from=<> to=<%s>", session,
            ToString(envelopes.back().id),
            VisEncode(group_.sender().ToString()));
  LogInfo("%s smtp disconnected reason=quit", session);
}

}  // namespace holdfast
