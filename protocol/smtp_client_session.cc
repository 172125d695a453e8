#include "protocol/smtp_client_session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

constexpr char kTooMuchData[] = "Remote host sent too much data";
constexpr char kTooManyErrors[] =
    "Too many consecutive errors, closing connection";
constexpr int kClosing = 421;  // RFC 5321 section 3.8: may answer anything
// So much of a message makes a BDAT.
constexpr size_t kChunkBytes = 64 << 10;

// First digit 2: done; 5: never; everything else: not now.
SmtpResult ResultOf(const SmtpReply& reply) {
  SmtpResult result;
  result.kind = reply.klass() == 2   ? SmtpResult::Kind::kOk
                : reply.klass() == 5 ? SmtpResult::Kind::kPermFail
                                     : SmtpResult::Kind::kTempFail;
  result.status = reply.Enhanced();
  if (reply.klass() == 3) result.status = {4, 0};
  result.text = reply.text;
  return result;
}

SmtpResult Temporary(absl::string_view text) {
  return {SmtpResult::Kind::kTempFail, {4, 0}, std::string(text)};
}

}  // namespace

SmtpClientSession::SmtpClientSession(Options options, Events* events)
    : options_(std::move(options)),
      events_(events),
      watcher_(options_.watcher),
      secure_(options_.secure),
      verified_(options_.secure && options_.tls_verified) {
  expected_.push_back({Command::kConnect});
  live_ = 1;
  if (watcher_ != nullptr)
    parser_.WatchLines(
        [this](absl::string_view line) { TellServerLine(line); });
}

void SmtpClientSession::OutputTaken() {
  if (state_ == State::kAuth) Wipe(&out_);
  out_.clear();
  live_ = expected_.size();
}

void SmtpClientSession::Receive(absl::string_view bytes) {
  if (!bytes.empty()) silent_in_tls_ = false;
  while (!bytes.empty() && state_ != State::kOver) {
    SmtpReply reply;
    const absl::StatusOr<bool> whole = parser_.Parse(&bytes, &reply);
    if (!whole.ok()) return End(std::string(whole.status().message()));
    if (!*whole) continue;
    OnReply(reply);
    if (state_ != State::kStartTls || !expected_.empty()) continue;
    // What came together with the go-ahead was not protected by TLS; somebody
    // else may have put it there.
    if (!bytes.empty()) return End(kTooMuchData);
    return events_->OnStartTls();
  }
}

void SmtpClientSession::ConnectionLost(absl::string_view text) {
  if (state_ != State::kOver) End(std::string(text));
}

// ---- what is sent

void SmtpClientSession::Send(Command command, size_t recipient,
                             absl::string_view line) {
  const size_t start = out_.size();
  switch (command) {
    case Command::kEhlo:
      absl::StrAppend(&out_, options_.lmtp ? "LHLO " : "EHLO ", options_.helo,
                      "\r\n");
      break;
    case Command::kHelo:
      absl::StrAppend(&out_, "HELO ", options_.helo, "\r\n");
      break;
    case Command::kRset:
      out_.append("RSET\r\n");
      break;
    case Command::kMail:
      AppendMailCommand(transaction_, extensions_, &out_);
      break;
    case Command::kRcpt:
      AppendRcptCommand(transaction_.recipients[recipient], extensions_, &out_);
      break;
    case Command::kData:
      out_.append("DATA\r\n");
      break;
    case Command::kQuit:
      out_.append("QUIT\r\n");
      break;
    case Command::kStartTls:
      out_.append("STARTTLS\r\n");
      break;
    case Command::kConnect:
    case Command::kAuth:
    case Command::kChunk:
    case Command::kFinal:
      break;  // no commands, or written with what they carry
  }
  expected_.push_back({command, recipient});
  if (watcher_ == nullptr) return;
  Watch(line.empty() ? absl::string_view(out_).substr(start) : line);
}

// The command behind `done` in a transaction, when one goes at a time.
void SmtpClientSession::SendNext(Command done, size_t recipient) {
  if (done == Command::kRset) return Send(Command::kMail);
  const size_t next = NextUndecided(done == Command::kMail ? 0 : recipient + 1);
  if (next < standings_.size()) return Send(Command::kRcpt, next);
  if (chunked_) return OnEnvelopeSent();
  if (accepted_ > 0) return Send(Command::kData);
  needs_rset_ = true;
  TransactionDone();
}

// All RCPTs are answered, and there is no DATA.
void SmtpClientSession::OnEnvelopeSent() {
  if (accepted_ > 0) return BeginBody();
  needs_rset_ = true;
  TransactionDone();
}

size_t SmtpClientSession::NextUndecided(size_t from) const {
  while (from < standings_.size() && standings_[from] != Standing::kUndecided)
    ++from;
  return from;
}

bool SmtpClientSession::Begin(SmtpTransaction transaction) {
  transaction_ = std::move(transaction);
  standings_.assign(transaction_.recipients.size(), Standing::kUndecided);
  accepted_ = 0;
  mail_answered_ = false;
  chunked_ = transaction_.binary() ||
             (extensions_.chunking && extensions_.pipelining &&
              transaction_.wire_bytes > kMinChunkedBytes);
  encoder_ = DataEncoder(!chunked_);
  binary_encoder_ = BinaryEncoder();
  downgrade_.reset();
  if (NeedsDowngrade(transaction_, extensions_)) {
    // What was never declared to be of 8 bits is not to fail for it.
    const bool utf8 = (transaction_.flags & kFlagSmtpUtf8) != 0;
    downgrade_ = std::make_unique<MimeDowngrade>(MimeDowngrade::Options{
        utf8 || (transaction_.flags & kFlag8BitMime) != 0,
        utf8 && !extensions_.smtputf8});
  }
  chunk_.clear();
  last_given_ = false;
  open_chunks_ = 0;
  taken_ = false;
  body_octets_ = 0;
  if (RefusedLocally()) return false;
  state_ = State::kEnvelope;
  const bool rset = std::exchange(needs_rset_, false);
  if (rset) Send(Command::kRset);
  if (rset && !extensions_.pipelining) return true;
  Send(Command::kMail);
  if (!extensions_.pipelining) return true;
  for (size_t i = NextUndecided(0); i < standings_.size();
       i = NextUndecided(i + 1))
    Send(Command::kRcpt, i);
  if (!chunked_) Send(Command::kData);
  return true;
}

// Gives results to those that can't be sent at all.  True: to all of them.
bool SmtpClientSession::RefusedLocally() {
  const SmtpResult::Kind never = SmtpResult::Kind::kPermFail;
  if (extensions_.max_size > 0 &&
      transaction_.wire_bytes > extensions_.max_size)
    DecideRest({never, {5, 34}, "message too large for peer"});
  if (!IsSafePath(transaction_.sender))
    DecideRest({never, {5, 17}, "Invalid sender address"});
  auto obstacle = ObstacleOf(transaction_, extensions_, verified_);
  if (!obstacle) obstacle = ObstacleOf(transaction_.sender, extensions_);
  if (obstacle) DecideRest({never, obstacle->status, obstacle->text});
  for (size_t i = 0; i < standings_.size(); ++i) {
    const std::string& path = transaction_.recipients[i].path;
    if (standings_[i] != Standing::kUndecided) continue;
    if (path.empty() || !IsSafePath(path))
      Decide(i, {never, {5, 13}, "Invalid recipient address"});
    else if (const auto unfit = ObstacleOf(path, extensions_))
      Decide(i, {never, unfit->status, unfit->text});
  }
  return NextUndecided(0) == standings_.size();
}

void SmtpClientSession::AppendBody(absl::string_view text) {
  if (state_ != State::kBody) return;
  if (downgrade_ == nullptr) return Encode(text);
  std::string converted;
  if (!downgrade_->Append(text, &converted)) return Unconvertible();
  Encode(converted);
}

void SmtpClientSession::Encode(absl::string_view text) {
  std::string* const to = chunked_ ? &chunk_ : &out_;
  const size_t before = to->size();
  if (transaction_.binary())
    binary_encoder_.Append(text, to);
  else
    encoder_.Append(text, to);
  body_octets_ += to->size() - before;
  if (chunked_) SendChunks();
}

void SmtpClientSession::FinishBody() {
  if (state_ != State::kBody || last_given_) return;
  if (downgrade_ != nullptr) {
    std::string converted;
    if (!downgrade_->Finish(&converted)) return Unconvertible();
    Encode(converted);
  }
  if (!transaction_.binary()) encoder_.Finish(chunked_ ? &chunk_ : &out_);
  if (!chunked_) {
    state_ = State::kFinal;
    return Tell({SmtpClientEvent::Kind::kClientLine, "."});
  }
  last_given_ = true;
  SendChunks();
}

// The part that was sent can't be taken back.
void SmtpClientSession::Unconvertible() {
  constexpr char kText[] =
      "Next hop does not support 8BITMIME, message cannot be converted";
  DecideRest({SmtpResult::Kind::kPermFail, {5, 63}, kText});
  End(kText);
}

// What can go of a message in chunks.
void SmtpClientSession::SendChunks() {
  if (!last_given_ && chunk_.size() < kChunkBytes) return;
  if (!extensions_.pipelining && open_chunks_ > 0) return;
  std::string line =
      absl::StrCat("BDAT ", chunk_.size(), last_given_ ? " LAST" : "");
  absl::StrAppend(&out_, line, "\r\n", chunk_);
  chunk_.clear();
  if (!last_given_) {
    ++open_chunks_;
    return Send(Command::kChunk, 0, line);
  }
  state_ = State::kFinal;
  for (size_t i = 0; i < standings_.size(); ++i) {
    if (standings_[i] != Standing::kAccepted) continue;
    Send(Command::kFinal, i, std::exchange(line, ""));
    if (!options_.lmtp) break;  // one reply for all
  }
}

void SmtpClientSession::Quit() {
  const bool unasked = state_ == State::kStartTls || state_ == State::kAuth;
  state_ = State::kQuit;
  if (unasked) return End("");
  Send(Command::kQuit);
}

// ---- what is answered

void SmtpClientSession::OnReply(const SmtpReply& reply) {
  ++replies_;
  if (live_ == 0) return OnUnasked(reply);
  const Expected to = expected_.front();
  expected_.pop_front();
  --live_;
  Answered(to, reply);
  TellNext();
  if (reply.code == kClosing && state_ != State::kOver)
    End(state_ == State::kQuit ? "" : reply.text);
}

void SmtpClientSession::OnUnasked(const SmtpReply& reply) {
  End(reply.code == kClosing ? reply.text : kTooMuchData);
}

void SmtpClientSession::Answered(const Expected& to, const SmtpReply& reply) {
  switch (to.command) {
    case Command::kConnect:
    case Command::kEhlo:
    case Command::kHelo:
      return OnGreeting(to.command, reply);
    case Command::kStartTls:
      return OnStartTls(reply);
    case Command::kAuth:
      return OnAuth(reply);
    case Command::kRset:
      // Whatever it says: if it failed, so will MAIL.
      if (!extensions_.pipelining && reply.code != kClosing)
        SendNext(Command::kRset, 0);
      return;
    case Command::kMail:
      return OnMail(reply);
    case Command::kRcpt:
      return OnRcpt(to.recipient, reply);
    case Command::kData:
      return OnData(reply);
    case Command::kChunk:
      return OnChunk(reply);
    case Command::kFinal:
      return OnFinal(to, reply);
    case Command::kQuit:
      return End("");
  }
}

void SmtpClientSession::OnMail(const SmtpReply& reply) {
  if (reply.code == kClosing && rested_) return;  // OnReply() ends it
  mail_answered_ = true;
  TellMail(reply);
  if (reply.klass() != 2) {
    SmtpResult result = ResultOf(reply);
    DecideRest(result);
    needs_rset_ = true;
  }
  if (extensions_.pipelining) return;
  if (reply.klass() != 2) return TransactionDone();
  SendNext(Command::kMail, 0);
}

void SmtpClientSession::OnRcpt(size_t recipient, const SmtpReply& reply) {
  const bool last = expected_.empty() && chunked_ && extensions_.pipelining &&
                    reply.code != kClosing;
  if (standings_[recipient] == Standing::kDone) {  // MAIL was refused
    if (last) OnEnvelopeSent();
    return;
  }
  TellRcpt(recipient, reply);
  if (reply.klass() == 2) {
    standings_[recipient] = Standing::kAccepted;
    ++accepted_;
    refused_ = 0;
  } else {
    Decide(recipient, ResultOf(reply));
    ++refused_;
  }
  if (last) return OnEnvelopeSent();
  if (extensions_.pipelining || reply.code == kClosing) return;
  if (refused_ >= options_.max_refused) {
    DecideRest(Temporary(kTooManyErrors));
    return TransactionDone();
  }
  SendNext(Command::kRcpt, recipient);
}

void SmtpClientSession::OnData(const SmtpReply& reply) {
  const bool go_ahead = reply.klass() == 3;
  if (accepted_ == 0) {
    // RFC 2920 section 3.1: the server waits for a message that nobody gets.
    needs_rset_ = !go_ahead;
    if (!go_ahead) return TransactionDone();
    // In LMTP nobody's message gets no reply (RFC 2033 section 4.2).
    if (options_.lmtp) return End(absl::StrCat("Bad response: ", reply.text));
    state_ = State::kBody;
    FinishBody();
    expected_.push_back({Command::kFinal});
    return;
  }
  // Whether a server that says 2xx here waits for a message or for commands
  // can't be known; it must not get one for the other.
  if (reply.klass() == 2)
    return End(absl::StrCat("Bad response: ", reply.text));
  TellData(reply);
  if (!go_ahead) {
    SmtpResult result = ResultOf(reply);
    DecideRest(result);
    needs_rset_ = true;
    return TransactionDone();
  }
  for (size_t i = 0; i < standings_.size(); ++i) {
    if (standings_[i] != Standing::kAccepted) continue;
    expected_.push_back({Command::kFinal, i});
    if (!options_.lmtp) break;  // one reply for all
  }
  // A server may refuse before it has seen the end.
  live_ = expected_.size();
  BeginBody();
}

void SmtpClientSession::BeginBody() {
  state_ = State::kBody;
  // BDAT asks for nothing like DATA: the message is on its way.
  if (chunked_) Tell({SmtpClientEvent::Kind::kData});
  events_->OnBodyWanted();
}

void SmtpClientSession::OnChunk(const SmtpReply& reply) {
  --open_chunks_;
  if (reply.code == kClosing) return;
  if (reply.klass() != 2) {
    // RFC 3030 section 2: the transaction has failed; what is on its way is
    // answered all the same.
    TellRollback();
    DecideRest(ResultOf(reply));
    chunk_.clear();
    state_ = State::kEnvelope;
    needs_rset_ = true;
  }
  if (state_ == State::kBody) return SendChunks();
  if (state_ == State::kEnvelope && expected_.empty()) TransactionDone();
}

void SmtpClientSession::OnFinal(const Expected& to, const SmtpReply& reply) {
  const SmtpResult result = ResultOf(reply);
  // Nobody takes over what he has not been sent: the dot is not out.
  if (state_ == State::kBody || !out_.empty()) {
    if (result.kind == SmtpResult::Kind::kOk) return End(kTooMuchData);
    // In LMTP the others have their own answers (RFC 2033 section 4.2).
    if (options_.lmtp) {
      Decide(to.recipient, result);
      --accepted_;
      if (accepted_ > 0) return;
    }
    // The rest of the message can't be taken back: the session is of no use.
    DecideRest(result);
    return End(result.text);
  }
  TellFinal(reply);
  if (!options_.lmtp || accepted_ == 0)
    DecideRest(result);
  else if (standings_[to.recipient] != Standing::kDone)
    Decide(to.recipient, result);
  if (expected_.empty()) TransactionDone();
}

// ---- ends

void SmtpClientSession::TransactionDone() {
  TellRollback();
  rested_ = true;
  if (refused_ >= options_.max_refused) return Quit();
  GoReady();
}

void SmtpClientSession::GoReady() {
  state_ = State::kReady;
  events_->OnReady();
}

void SmtpClientSession::End(const std::string& error) {
  const bool quitting = state_ == State::kQuit;
  failed_in_starttls_ = state_ == State::kStartTls || silent_in_tls_;
  if (state_ == State::kAuth) Wipe(&out_);
  sasl_.reset();
  auth_response_ = Secret();
  TellSent();
  TellRollback();
  SmtpResult result = Temporary(error);
  if (rested_ && !mail_answered_) result.kind = SmtpResult::Kind::kNotTried;
  state_ = State::kOver;
  DecideRest(result);
  events_->OnEnd(quitting ? "" : error);
}

void SmtpClientSession::Decide(size_t recipient, const SmtpResult& result) {
  standings_[recipient] = Standing::kDone;
  events_->OnResult(recipient, result);
}

void SmtpClientSession::DecideRest(const SmtpResult& result) {
  for (size_t i = 0; i < standings_.size(); ++i)
    if (standings_[i] != Standing::kDone) Decide(i, result);
  accepted_ = 0;
}

}  // namespace holdfast
