#include "server/queue/report_job.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "protocol/smtp_path.h"
#include "protocol/vis.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

// What is said where the filter cannot be asked.
constexpr char kNoFilter[] = "421 4.3.0 Filters are not there";
// The first line of what a filter calls junk.
constexpr char kJunkHeader[] = "X-Spam: Yes\n";

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

// ---- the session: on the local socket, as far as a filter can see

void ReportJob::Start() {
  session_ = SessionId(absl::Uniform<uint64_t>(services_->random()));
  rcpt_ = group_.sender();
  helo_ = group_.smtpname;
  rewritten_ = false;
  const Config& config = services_->config();
  if (config.socket_listener.filter.empty()) return TakeId();
  ReportFilter::Facts facts;
  facts.session = session_;
  facts.filter = config.socket_listener.filter;
  facts.host = ServerName();
  facts.path = PathsBelow(config.spool).control_socket;
  facts.helo = helo_;
  filter_ = ReportFilter::Begin(
      services_->filters(), std::move(facts), this,
      Guarded([](ReportJob* job, bool discard, std::string line) {
        job->OnFilterEnded(discard, std::move(line));
      }));
  if (filter_ == nullptr) return OnFilterEnded(false, kNoFilter);
  filter_->Greet(Guarded([](ReportJob* job) { job->TakeId(); }));
}

void ReportJob::TakeId() {
  services_->TakeMessageId(
      Guarded([](ReportJob* job, MessageId id) { job->OnId(id); }));
}

void ReportJob::OnId(MessageId id) {
  id_ = id;
  if (filter_ != nullptr)
    return filter_->Mail(id_,
                         Guarded([](ReportJob* job) { job->AskRecipient(); }));
  if (recipients_.empty()) return Expand();
  OnRecipients();
}

void ReportJob::AskRecipient() {
  filter_->Rcpt(group_.sender().ForPath(),
                Guarded([](ReportJob* job, const std::string& rewritten) {
                  job->OnRecipientAsked(rewritten);
                }));
}

void ReportJob::OnRecipientAsked(const std::string& rewritten) {
  if (rewritten.empty()) return Expand();
  PathOptions options;
  const std::string name = ServerName();
  options.default_domain = name;
  options.rules.smtputf8 = true;
  auto path = ParseRcptArgument(rewritten, options);
  if (const Reply* refusal = std::get_if<Reply>(&path))
    return OnFilterEnded(false, refusal->FirstLine());
  rcpt_ = std::get<ForwardPath>(path).address;
  rewritten_ = true;
  Expand();
}

void ReportJob::Expand() {
  ExpandRequest request;
  request.sockaddr = "local";
  request.rdns = ServerName();
  request.helo = helo_;
  request.authenticated = true;
  request.smtpname = ServerName();
  request.rcpt = rcpt_;
  services_->Expand(std::move(request),
                    Guarded([](ReportJob* job, ExpandAnswer answer) {
                      job->OnExpanded(std::move(answer));
                    }));
}

void ReportJob::OnExpanded(ExpandAnswer answer) {
  if (answer.refusal.empty() && answer.recipients.empty())
    answer.refusal = "550 Invalid recipient";
  if (!answer.refusal.empty()) {
    const bool permanent = answer.refusal[0] == '5' || answer.refusal[0] == '6';
    const std::string line =
        absl::StrCat(answer.refusal, ": <", rcpt_.ForPath(), ">");
    if (filter_ != nullptr) filter_->RcptRefused(line);
    filter_.reset();
    // A filter that thinks of another recipient loses no report.
    return Finish(permanent && !rewritten_ ? Result::kRefused : Result::kLater,
                  line);
  }
  recipients_ = std::move(answer.recipients);
  OnRecipients();
}

void ReportJob::OnRecipients() {
  MakeEnvelopeIds();
  if (filter_ == nullptr) return WriteMessage();
  filter_->RcptTaken(ids_);
  filter_->Data(Guarded([](ReportJob* job) { job->WriteMessage(); }));
}

// ---- the message

void ReportJob::WriteMessage() {
  if (filter_ != nullptr) helo_ = filter_->helo();
  report_ = Describe();
  compressor_.emplace();
  compressed_.reset();
  chunks_.clear();
  stored_chunks_ = 0;
  quoted_ = 0;
  line_empty_ = true;
  quoted_all_ = quote_ == Quote::kNothing;
  text_ = {};
  text_.filtered = filter_ != nullptr && filter_->WantsText();
  if (filter_ != nullptr && filter_->junk()) Write(kJunkHeader);
  Write(Received());
  Write(ReportHead(report_));
  if (quoted_all_) return End();
  reader_.emplace(services_->loop(), services_->store(), group_.message);
  ReadNext();
}

void ReportJob::ReadNext() {
  if (quoted_all_) return End();
  reader_->Read(Guarded(
      [](ReportJob* job, absl::StatusOr<StoredBodyReader::Piece> piece) {
        job->OnPiece(std::move(piece));
      }));
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
    filter_.reset();
    return Finish(Result::kLater, "Error reading message");
  }
  if (quote_ == Quote::kAll &&
      quoted_ + piece->bytes.size() > kMaxReturnedMessage)
    return Restart(Quote::kHeaders);
  Write(absl::string_view(piece->bytes).substr(0, Quotable(piece->bytes)));
  if (piece->end) quoted_all_ = true;
  Forward(&ReportJob::ReadNext);
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
  if (text_.filtered)
    text_.to_filter.append(raw.data(), raw.size());
  else
    Compress(raw);
}

void ReportJob::Compress(absl::string_view raw) {
  for (std::string& chunk : compressor_->Write(raw))
    chunks_.push_back(std::move(chunk));
}

// What was written is on its way, then `next`.
void ReportJob::Forward(Step next) {
  if (!text_.filtered) return StoreChunks(next);
  text_.next = next;
  SendText();
}

void ReportJob::End() {
  reader_.reset();
  Write(ReportTail(report_));
  Forward(text_.filtered ? &ReportJob::EndText : &ReportJob::EndBody);
}

// ---- the text, through a filter: what comes back is stored

void ReportJob::SendText() {
  if (filter_->lost()) return OnFilterEnded(false, kNoFilter);
  while (!text_.to_filter.empty() && filter_->TextRoom() > 0) {
    const size_t n = std::min(text_.to_filter.size(), filter_->TextRoom());
    filter_->SendText(text_.to_filter.substr(0, n), false);
    text_.to_filter.erase(0, n);
  }
  if (!text_.to_filter.empty()) return;
  if (const Step next = std::exchange(text_.next, nullptr)) (this->*next)();
}

void ReportJob::EndText() { filter_->SendText("", true); }

void ReportJob::OnFilterTextRoom() {
  const auto self = shared_from_this();
  SendText();
}

void ReportJob::OnFilterTextFailed(const std::string& reply) {
  const auto self = shared_from_this();
  OnFilterEnded(false, reply);
}

void ReportJob::OnFilterText(absl::string_view bytes, bool end) {
  const auto self = shared_from_this();
  text_.returned += bytes.size();
  if (text_.returned > services_->config().max_message_size)
    return OnFilterEnded(false, "552 5.3.4 Message too big for system");
  Compress(bytes);
  text_.untaken += bytes.size();
  text_.complete = end;
  if (!text_.storing) StoreReturned();
}

void ReportJob::StoreReturned() {
  text_.storing = true;
  text_.taking = std::exchange(text_.untaken, 0);
  StoreChunks(&ReportJob::OnReturnedStored);
}

void ReportJob::OnReturnedStored() {
  text_.storing = false;
  filter_->TookText(text_.taking);
  if (text_.untaken > 0) return StoreReturned();
  if (text_.complete) EndBody();
}

// It refuses, or nobody could be asked: that is no reason to lose a report.
void ReportJob::OnFilterEnded(bool discard, std::string line) {
  reader_.reset();
  DropBody();
  filter_.reset();
  id_ = MessageId();  // what is under way for it is nobody's
  services_->loop()->Post(
      [weak = weak_from_this(), discard, line = std::move(line)]() mutable {
        if (auto self = weak.lock())
          self->Finish(discard ? Result::kRefused : Result::kLater,
                       std::move(line));
      });
}

// ---- the store

void ReportJob::StoreChunks(Step next) {
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
  services_->Commit(std::move(batch), [weak = weak_from_this(), id = id_,
                                       next](BatchResult result) {
    auto self = weak.lock();
    if (!self || self->id_ != id) return;
    if (!result.status.ok()) return self->OnStoreError(result.status);
    for (const OperationResult& r : result.operations)
      if (!r.status.ok()) return self->OnStoreError(r.status);
    (self.get()->*next)();
  });
}

void ReportJob::EndBody() {
  compressed_ = compressor_->Finish();
  compressor_.reset();
  if (compressed_->info.chunks > 1 || stored_chunks_ > 0) {
    for (std::string& chunk : compressed_->chunks)
      chunks_.push_back(std::move(chunk));
    compressed_->chunks.clear();
  }
  StoreChunks(filter_ == nullptr ? &ReportJob::Accept : &ReportJob::AskCommit);
}

void ReportJob::AskCommit() {
  filter_->Commit(Guarded([](ReportJob* job) { job->Accept(); }));
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
                      if (self->filter_ != nullptr)
                        self->filter_->Accepted(size);
                      self->Finish(Result::kSettled, "250 2.0.0 Ok");
                    });
}

void ReportJob::OnStoreError(const absl::Status& status) {
  if (absl::IsResourceExhausted(status) && !small_) {
    small_ = true;
    return Restart(std::max(quote_, Quote::kHeaders));
  }
  DropBody();
  filter_.reset();
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

// With a filter as another session.
void ReportJob::Restart(Quote quote) {
  DropBody();
  quote_ = quote;
  if (filter_ == nullptr) return TakeId();
  filter_.reset();
  id_ = MessageId();
  Start();
}

void ReportJob::Finish(Result result, std::string line) {
  Done done = std::move(done_);
  done(result, std::move(line));
}

}  // namespace holdfast
