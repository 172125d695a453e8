#include "ctl/load/load_session.h"

#include <time.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace holdfast {
namespace {

// A reply longer than this is no reply.
constexpr size_t kReplyLimit = 64 * 1024;

int64_t NowUs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1000000} + now.tv_nsec / 1000;
}

// The first word of 8 hexadecimal digits: "250 2.0.0 9c0ffee1 Message ...".
std::string MessageIdIn(const std::string& reply) {
  for (absl::string_view word : absl::StrSplit(reply, ' ')) {
    if (word.size() == 8 &&
        std::all_of(word.begin(), word.end(),
                    [](unsigned char c) { return absl::ascii_isxdigit(c); })) {
      return std::string(word);
    }
  }
  return "";
}

}  // namespace

LoadSession::LoadSession(Poller* poller, int fd, const LoadPlan* plan,
                         Owner* owner)
    : plan_(plan),
      owner_(owner),
      connection_(std::make_unique<TextConnection>(poller, fd, this)),
      last_progress_ms_(Poller::NowMs()) {
  expected_.push_back(Expect::kBanner);
}

void LoadSession::Send(int64_t number, const LoadBody* body,
                       const std::string& date) {
  message_.emplace();
  message_->number = number;
  body_ = body;
  date_ = date;
  next_rcpt_ = 0;
  end_sent_ = failed_ = false;
  ++sent_;
  Command(Expect::kMail, absl::StrCat("MAIL FROM:<", plan_->sender, ">"));
  if (!pipelining_) return;
  SendRcpts();
  StartText();
}

void LoadSession::Quit() { Command(Expect::kQuit, "QUIT"); }

void LoadSession::Cut(const std::string& why) {
  if (ended_) return;
  connection_->Abort();
  OnClosed(why);
}

void LoadSession::Command(Expect expect, absl::string_view line) {
  if (expected_.empty()) last_progress_ms_ = Poller::NowMs();
  expected_.push_back(expect);
  connection_->Write(absl::StrCat(line, "\r\n"));
}

void LoadSession::OnInput() {
  absl::string_view line;
  while (!ended_ && connection_->ReadLine(&line)) {
    last_progress_ms_ = Poller::NowMs();
    int code = 0;
    if (line.size() < 3 || !absl::SimpleAtoi(line.substr(0, 3), &code)) {
      return Cut("not a reply");
    }
    if (expected_.empty()) return Cut("a reply without a command");
    if (expected_.front() == Expect::kEhlo && ehlo_.size() < kReplyLimit) {
      absl::StrAppend(&ehlo_, line, "\n");
    }
    if (line.size() > 3 && line[3] == '-') continue;
    OnReply(code, std::string(line));
  }
  if (!ended_ && connection_->buffered().size() > kReplyLimit) {
    Cut("an endless reply");
  }
}

void LoadSession::OnReply(int code, const std::string& line) {
  const Expect expect = expected_.front();
  expected_.pop_front();
  switch (expect) {
    case Expect::kBanner:
      if (code != 220) return Cut(line);
      return Command(Expect::kEhlo, absl::StrCat("EHLO ", plan_->helo));
    case Expect::kEhlo:
      return OnEhlo(code);
    case Expect::kMail:
      return OnMail(code, line);
    case Expect::kRcpt:
      return OnRcpt(code, line);
    case Expect::kData:
      return OnData(code, line);
    case Expect::kBdat:
      return OnBdat(code, line);
    case Expect::kEnd:
      return OnEnd(code, line);
    case Expect::kRset:
      if (code != 250) return Cut(line);
      return owner_->OnReady(this);
    case Expect::kQuit:
      return Cut("quit");
  }
}

void LoadSession::OnEhlo(int code) {
  if (code != 250) return Cut(ehlo_);
  greeted_ = true;
  const std::string upper = absl::AsciiStrToUpper(ehlo_);
  pipelining_ =
      plan_->pipelining && upper.find("PIPELINING") != std::string::npos;
  bdat_ = plan_->bdat > 0 && upper.find("CHUNKING") != std::string::npos;
  owner_->OnReady(this);
}

void LoadSession::OnMail(int code, const std::string& line) {
  if (code != 250) return Refuse(code, line);
  if (!pipelining_) SendRcpt();
}

void LoadSession::SendRcpts() {
  while (next_rcpt_ < plan_->recipients) SendRcpt();
}

void LoadSession::SendRcpt() {
  Command(Expect::kRcpt,
          absl::StrCat("RCPT TO:<",
                       plan_->Recipient(message_->number, next_rcpt_), ">"));
  ++next_rcpt_;
}

void LoadSession::OnRcpt(int code, const std::string& line) {
  if (failed_) return;
  // Replies come in the order of the commands.
  const int64_t which =
      message_->recipients.size() + message_->refused_recipients;
  if (code / 100 == 2) {
    message_->recipients.push_back(plan_->Recipient(message_->number, which));
  } else {
    ++message_->refused_recipients;
  }
  const bool last = which + 1 == plan_->recipients;
  if (last && message_->recipients.empty()) return Refuse(code, line);
  if (pipelining_) return;
  if (last) {
    StartText();
  } else {
    SendRcpt();
  }
}

void LoadSession::StartText() {
  if (!bdat_) return Command(Expect::kData, "DATA");
  text_ = absl::StrCat(
      MakeLoadHeader(plan_->Id(message_->number), plan_->sender,
                     plan_->Recipient(message_->number, 0), date_, *body_),
      body_->plain);
  message_->bytes = text_.size();
  SendChunk();
  while (pipelining_ && !text_.empty()) SendChunk();
}

void LoadSession::SendChunk() {
  const std::string chunk = text_.substr(0, plan_->bdat);
  text_.erase(0, chunk.size());
  const bool last = text_.empty();
  if (last) {
    end_sent_ = true;
    end_sent_us_ = NowUs();
  }
  Command(last ? Expect::kEnd : Expect::kBdat,
          absl::StrCat("BDAT ", chunk.size(), last ? " LAST" : ""));
  connection_->Write(chunk);
}

void LoadSession::OnBdat(int code, const std::string& line) {
  if (failed_) return ResetWhenAnswered();
  if (code / 100 != 2) return Refuse(code, line);
  if (!pipelining_) SendChunk();
}

void LoadSession::OnData(int code, const std::string& line) {
  if (failed_) {
    // RFC 2920 section 3.1: a server that takes DATA after it refused all
    // else gets an empty message.
    if (code == 354) return Command(Expect::kEnd, ".");
    return ResetWhenAnswered();
  }
  if (code != 354) return Refuse(code, line);
  SendBody();
}

void LoadSession::SendBody() {
  const std::string header =
      MakeLoadHeader(plan_->Id(message_->number), plan_->sender,
                     plan_->Recipient(message_->number, 0), date_, *body_);
  message_->bytes = header.size() + body_->plain.size();
  end_sent_ = true;
  end_sent_us_ = NowUs();
  Command(Expect::kEnd, absl::StrCat(header, body_->stuffed, "."));
}

void LoadSession::OnEnd(int code, const std::string& line) {
  if (failed_) return ResetWhenAnswered();
  if (code / 100 != 2) return Refuse(code, line);
  message_->wait_us = NowUs() - end_sent_us_;
  message_->msgid = MessageIdIn(line);
  Finish(LoadOutcome::Kind::kAcknowledged, line);
  owner_->OnReady(this);
}

// RSET brings the server back to a known state; but not before it has answered
// a pipelined DATA or BDAT, or it would take RSET for text.
void LoadSession::ResetWhenAnswered() {
  for (const Expect expect : expected_) {
    if (expect == Expect::kData || expect == Expect::kBdat ||
        expect == Expect::kEnd) {
      return;
    }
  }
  Command(Expect::kRset, "RSET");
}

void LoadSession::Refuse(int code, const std::string& line) {
  const bool closing = code == 421;
  Finish(code / 100 == 5 ? LoadOutcome::Kind::kRefused
                         : LoadOutcome::Kind::kTemporary,
         line);
  failed_ = true;
  text_.clear();
  if (closing) return Cut(line);
  ResetWhenAnswered();
}

void LoadSession::Finish(LoadOutcome::Kind kind, const std::string& reply) {
  LoadOutcome outcome = *std::exchange(message_, std::nullopt);
  outcome.kind = kind;
  outcome.complete = end_sent_;
  outcome.reply = reply;
  owner_->OnOutcome(outcome);
}

void LoadSession::OnClosed(const std::string& why) {
  if (ended_) return;
  ended_ = true;
  if (message_.has_value()) {
    Finish(end_sent_ ? LoadOutcome::Kind::kUnknown : LoadOutcome::Kind::kCut,
           why);
  }
  expected_.clear();
  owner_->OnEnd(this, greeted_, why);
}

}  // namespace holdfast
