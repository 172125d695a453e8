#include "server/filters/process_session.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "protocol/filter_text.h"
#include "server/filters/process_text.h"

namespace holdfast {
namespace {

absl::Status Wrong(absl::string_view what) {
  return absl::InvalidArgumentError(what);
}

LinkAnswer::Verdict VerdictOf(FilterVerdict verdict) {
  switch (verdict) {
    case FilterVerdict::kProceed:
      break;
    case FilterVerdict::kJunk:
      return LinkAnswer::Verdict::kJunk;
    case FilterVerdict::kReject:
      return LinkAnswer::Verdict::kReject;
    case FilterVerdict::kDisconnect:
      return LinkAnswer::Verdict::kDisconnect;
    case FilterVerdict::kRewrite:
      return LinkAnswer::Verdict::kRewrite;
    case FilterVerdict::kReport:
      return LinkAnswer::Verdict::kReport;
  }
  return LinkAnswer::Verdict::kProceed;
}

// The text of a message that nobody can look at.
class FailedText : public TextStage {
 public:
  explicit FailedText(TextSink* sink) : sink_(sink) {}
  void Write(absl::string_view) override { Fail(); }
  void End() override { Fail(); }
  void OutputTaken(size_t) override {}

 private:
  void Fail() {
    if (TextSink* const sink = std::exchange(sink_, nullptr))
      sink->OnTextFailed(kRefusedForNow);
  }

  TextSink* sink_;
};

}  // namespace

// ---- ProcessLink

ProcessLink::ProcessLink(std::string name, FilterProgram* program,
                         uint64_t token, ProcessSays says)
    : name_(std::move(name)),
      program_(program),
      token_(token & ~FilterProgram::kPhaseBits),
      says_(std::move(says)) {}

uint32_t ProcessLink::phases() const {
  if (program_->ready())
    return program_->phases() & (kAskedPhases | MaskOf(FilterPhase::kDataLine));
  if (!program_->care().accept_on_failure) return kAskedPhases;
  // For messages that it has had before it was lost.
  return program_->answers_commit() ? MaskOf(FilterPhase::kCommit) : 0;
}

uint32_t ProcessLink::events_in() const {
  const uint32_t ours =
      program_->care().accept_on_failure && program_->answers_commit()
          ? MaskOf(FilterEvent::kTxReset)
          : 0;
  return program_->ready() ? program_->events_in() | ours : ours;
}

uint32_t ProcessLink::events_out() const {
  return program_->ready() ? program_->events_out() : 0;
}

std::unique_ptr<LinkSession> ProcessLink::Begin(absl::Time at,
                                                const SessionFacts& facts) {
  return std::make_unique<ProcessSession>(this, at, facts);
}

// ---- ProcessSession

ProcessSession::ProcessSession(const ProcessLink* link, absl::Time at,
                               const SessionFacts& facts)
    : link_(link), program_(link->program()), facts_(facts) {
  lost_ = !program_->ready() ||
          !program_->Add(this, facts.session, link->token(), &reports_);
  OnReport(at, FilterEvent::kLinkConnect,
           {facts.rdns, facts.fcrdns, facts.source, facts.destination});
}

ProcessSession::~ProcessSession() {
  if (stage_ != nullptr) stage_->OnSessionGone();
  if (!lost_) program_->Remove(this);
}

bool ProcessSession::AnswersForText(FilterPhase phase) const {
  return phase == FilterPhase::kCommit && given_;
}

LinkAnswer ProcessSession::AnswerOfMissing(FilterPhase phase) const {
  LinkAnswer answer;
  if (program_->care().accept_on_failure) {
    if (!AnswersForText(phase)) return answer;
    answer.verdict = LinkAnswer::Verdict::kReject;
    answer.text = kRefusedForNow;
    return answer;
  }
  answer.verdict = LinkAnswer::Verdict::kDisconnect;
  answer.text = kSessionRefused;
  return answer;
}

bool ProcessSession::Wants(FilterPhase phase) const {
  const uint32_t all = kAskedPhases | MaskOf(FilterPhase::kDataLine);
  if (lost_ && AnswersForText(phase)) return true;
  const uint32_t mask = !lost_ ? program_->phases()
                        : program_->care().accept_on_failure ? 0
                                                             : all;
  return (mask & all & MaskOf(phase)) != 0;
}

void ProcessSession::Ask(const FilterQuestion& question, Done done) {
  if (lost_) {
    const LinkAnswer answer = AnswerOfMissing(question.phase);
    given_ = false;
    return done(answer);
  }
  // What is asked behind a text is the commit, or another transaction.
  if (question.phase != FilterPhase::kCommit) given_ = false;
  asked_ = question.phase;
  done_ = std::move(done);
  const uint64_t token = link_->token() | static_cast<uint64_t>(asked_);
  std::string connect;
  if (asked_ == FilterPhase::kConnect)
    connect = absl::StrCat(absl::StrReplaceAll(facts_.rdns, {{"|", "?"}}), "|",
                           facts_.source_address);
  AppendFilterRequest(program_->protocol(), question.at, asked_, facts_.session,
                      token, connect.empty() ? question.argument : connect,
                      program_->out());
  program_->Await(this);
}

absl::Status ProcessSession::OnResult(FilterPhase phase, FilterVerdict verdict,
                                      absl::string_view text) {
  if (!done_ || asked_ != phase) return Wrong("answered without being asked");
  if (verdict == FilterVerdict::kJunk && phase == FilterPhase::kCommit)
    return Wrong("said junk at commit");
  Done done = std::exchange(done_, nullptr);
  if (phase == FilterPhase::kCommit) given_ = false;
  AwaitWhatIsLeft();
  LinkAnswer answer;
  answer.verdict = VerdictOf(verdict);
  answer.text = std::string(text);
  done(std::move(answer));
  return absl::OkStatus();
}

// An answer has come; there may be another to wait for.
void ProcessSession::AwaitWhatIsLeft() {
  program_->Answered(this);
  if (done_ || text_ == Text::kEnded || text_ == Text::kDraining)
    program_->Await(this);
}

void ProcessSession::OnReport(absl::Time at, FilterEvent event,
                              const std::vector<std::string>& fields) {
  if (event == FilterEvent::kTxReset) given_ = false;
  if (lost_ || !reports_) return;
  const uint32_t wanted =
      facts_.outgoing ? program_->events_out() : program_->events_in();
  if ((wanted & MaskOf(event)) == 0) return;
  AppendFilterReport(program_->protocol(), at, facts_.outgoing, event,
                     facts_.session, fields, program_->out());
  program_->CheckUnread();
}

void ProcessSession::OnSays(absl::string_view text) {
  link_->says()(facts_.session, text);
}

void ProcessSession::OnLost() {
  text_ = Text::kNone;
  if (stage_ != nullptr) stage_->OnProcessLost();
  if (!done_) return;
  const LinkAnswer answer = AnswerOfMissing(asked_);
  given_ = given_ && asked_ != FilterPhase::kCommit;
  std::exchange(done_, nullptr)(answer);
}

// ---- Text

std::unique_ptr<TextStage> ProcessSession::BeginText(TextSink* sink) {
  if (lost_) return std::make_unique<FailedText>(sink);
  auto stage = std::make_unique<ProcessText>(this, sink);
  stage_ = stage.get();
  return stage;
}

absl::Status ProcessSession::OnDataline(absl::string_view line) {
  const bool end = IsFilterTextEnd(line);
  switch (text_) {
    case Text::kNone:
      return Wrong("said text of a message that it was not given");
    case Text::kFlowing:
      if (end) return Wrong("ended a message before it had all of it");
      break;
    case Text::kEnded:
      if (end) {
        text_ = Text::kNone;
        AwaitWhatIsLeft();
      }
      break;
    case Text::kDraining:
      if (!end) return program_->CountUnasked(line.size());
      text_ = Text::kNone;
      AwaitWhatIsLeft();
      if (stage_ != nullptr) stage_->Proceed(program_->HasTextRoom());
      return absl::OkStatus();
  }
  stage_->OnProcessLine(line, end);
  program_->NoteTextRead(this);
  return absl::OkStatus();
}

void ProcessSession::OnTextRead() {
  if (stage_ != nullptr) stage_->Emit();
}

void ProcessSession::OnTextRoom() {
  if (stage_ != nullptr) stage_->Proceed(true);
}

size_t ProcessSession::held_output() const {
  return stage_ == nullptr ? 0 : stage_->held_output();
}

void ProcessSession::GiveTextUp() {
  if (stage_ != nullptr) stage_->GiveUp();
}

std::string ProcessSession::TextPrefix() const {
  return FilterRequestPrefix(
      program_->protocol(), program_->now(), FilterPhase::kDataLine,
      facts_.session,
      link_->token() | static_cast<uint64_t>(FilterPhase::kDataLine));
}

}  // namespace holdfast
