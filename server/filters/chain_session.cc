#include "server/filters/chain_session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "protocol/filter_lines.h"
#include "protocol/secret.h"

namespace holdfast {
namespace {

using Verdict = FilterDecision::Verdict;

std::string WithoutPort(const std::string& endpoint) {
  if (absl::StartsWith(endpoint, "unix:")) return "local";
  return endpoint.substr(0, endpoint.rfind(':'));
}

absl::string_view ResponseWord(Verdict verdict) {
  switch (verdict) {
    case Verdict::kJunk:
      return "junk";
    case Verdict::kReject:
      return "reject";
    case Verdict::kDisconnect:
      return "disconnect";
    case Verdict::kRewrite:
      return "rewrite";
    case Verdict::kProceed:
    case Verdict::kDiscard:
      break;
  }
  return "proceed";
}

// As protocol-client has secrets.
constexpr char kMaskedArgument[] = "********";

// Phases of a command with an argument, which can be rewritten.
constexpr uint32_t kWithArgument =
    MaskOf(FilterPhase::kHelo) | MaskOf(FilterPhase::kEhlo) |
    MaskOf(FilterPhase::kAuth) | MaskOf(FilterPhase::kMailFrom) |
    MaskOf(FilterPhase::kRcptTo);

// What comes through a door may be no value of its type.
bool IsPhase(FilterPhase phase) {
  return static_cast<int>(phase) < kFilterPhases;
}
bool IsEvent(FilterEvent event) {
  return static_cast<int>(event) < kFilterEvents;
}

// As one line of a reply; empty if it is none.
std::string AsReply(std::string text) {
  if (text.size() > kMaxFilterReply) text.resize(kMaxFilterReply);
  for (char& c : text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = ' ';
  }
  return IsFilterReply(text) ? text : "";
}

}  // namespace

ChainSession::ChainSession(EventLoop* loop, const FilterChain* chain,
                           Door* door, const FilterSession& session)
    : loop_(loop), chain_(chain), door_(door) {
  facts_.session = session.session;
  facts_.outgoing = session.outgoing;
  facts_.rdns = session.rdns;
  facts_.fcrdns = session.fcrdns;
  facts_.source = session.source;
  facts_.destination = session.destination;
  facts_.source_address = WithoutPort(session.source);
  links_.reserve(chain->links.size());
  for (FilterLink* const link : chain->links)
    links_.push_back(link->Begin(session.at, facts_));
}

ChainSession::~ChainSession() {
  *alive_ = false;
  // Before the text: what has not come to its end is not ended for them.
  links_.clear();
}

// ---- Events

bool ChainSession::OnReport(const FilterReport& report) {
  if (!IsEvent(report.event)) return false;
  constexpr uint32_t kOurs =
      MaskOf(FilterEvent::kLinkConnect) | MaskOf(FilterEvent::kLinkDisconnect) |
      MaskOf(FilterEvent::kFilterResponse) | MaskOf(FilterEvent::kFilterReport);
  if ((MaskOf(report.event) & kOurs) != 0) return true;
  NoteFacts(report);
  Report(report.at, report.event, report.fields);
  return true;
}

void ChainSession::NoteFacts(const FilterReport& report) {
  const std::vector<std::string>& fields = report.fields;
  switch (report.event) {
    case FilterEvent::kLinkIdentify:
      if (fields.size() > 1) facts_.helo = fields[1];
      break;
    case FilterEvent::kLinkTls:
      if (!fields.empty()) facts_.tls = fields[0];
      break;
    case FilterEvent::kLinkAuth:
      if (fields.size() > 1 && fields[0] == "pass") facts_.user = fields[1];
      break;
    case FilterEvent::kTxBegin:
      if (!fields.empty()) facts_.message = fields[0];
      break;
    case FilterEvent::kTxMail:
      if (fields.size() > 2 && fields[1] == "ok") facts_.sender = fields[2];
      break;
    case FilterEvent::kTxReset:
      facts_.message.clear();
      facts_.sender.clear();
      break;
    default:
      break;
  }
}

void ChainSession::Report(absl::Time at, FilterEvent event,
                          const std::vector<std::string>& fields) {
  for (size_t i = 0; i < links_.size(); ++i) {
    const FilterLink* const link = chain_->links[i];
    const uint32_t wanted =
        facts_.outgoing ? link->events_out() : link->events_in();
    if ((wanted & MaskOf(event)) != 0) links_[i]->OnReport(at, event, fields);
  }
}

void ChainSession::ReportFilter(FilterLink::Source source, std::string text) {
  Report(loop_->Now(), FilterEvent::kFilterReport,
         {std::string(source.kind), std::string(source.name), std::move(text)});
}

void ChainSession::OnSays(FilterLink::Source source, absl::string_view text) {
  ReportFilter(source, std::string(text));
}

void ChainSession::OnEnded(absl::Time at) {
  Report(at, FilterEvent::kLinkDisconnect, {});
}

// ---- Questions

bool ChainSession::OnQuestion(FilterQuestion question) {
  if (open_ || facts_.outgoing || !IsPhase(question.phase) ||
      (MaskOf(question.phase) & kAskedPhases) == 0)
    return false;
  NoteQuestion(question);
  open_ = true;
  question_ = std::move(question);
  decision_ = FilterDecision();
  decision_.session = facts_.session;
  decision_.question = question_.question;
  place_ = 0;
  Continue();
  return true;
}

void ChainSession::NoteQuestion(const FilterQuestion& question) {
  facts_.recipient.clear();
  switch (question.phase) {
    case FilterPhase::kHelo:
    case FilterPhase::kEhlo:
      facts_.helo = question.argument;
      break;
    case FilterPhase::kMailFrom:
      facts_.sender = question.argument;
      break;
    case FilterPhase::kRcptTo:
      facts_.recipient = question.argument;
      break;
    default:
      break;
  }
}

void ChainSession::Continue() {
  while (open_) {
    while (place_ < links_.size() && !links_[place_]->Wants(question_.phase))
      ++place_;
    if (place_ == links_.size()) return Decide(Verdict::kProceed, "");
    asking_ = true;
    answered_ = false;
    links_[place_]->Ask(
        question_, [this](LinkAnswer answer) { OnAnswer(std::move(answer)); });
    asking_ = false;
    if (!answered_) return;
  }
}

void ChainSession::OnAnswer(LinkAnswer answer) {
  answered_ = true;
  switch (answer.verdict) {
    case LinkAnswer::Verdict::kReport:
      ReportFilter(chain_->links[place_]->source(), std::move(answer.text));
      ++place_;
      break;
    case LinkAnswer::Verdict::kProceed:
      NoteChanges(&answer);
      ++place_;
      break;
    case LinkAnswer::Verdict::kBypass:
      Decide(Verdict::kProceed, "");
      break;
    case LinkAnswer::Verdict::kJunk:
      Decide(Verdict::kJunk, "");
      break;
    case LinkAnswer::Verdict::kRewrite:
      if ((MaskOf(question_.phase) & kWithArgument) == 0) {
        ++place_;  // there is nothing to rewrite
        break;
      }
      Decide(Verdict::kRewrite, std::move(answer.text));
      break;
    case LinkAnswer::Verdict::kReject:
      Decide(Verdict::kReject, std::move(answer.text));
      break;
    case LinkAnswer::Verdict::kDisconnect:
      Decide(Verdict::kDisconnect, std::move(answer.text));
      break;
    case LinkAnswer::Verdict::kDiscard:
      Decide(Verdict::kDiscard, "");
      break;
  }
  if (!asking_) Continue();
}

void ChainSession::NoteChanges(LinkAnswer* answer) {
  const auto add = [](std::vector<std::string>* to,
                      std::vector<std::string>* from) {
    to->insert(to->end(), std::make_move_iterator(from->begin()),
               std::make_move_iterator(from->end()));
  };
  add(&decision_.remove_recipients, &answer->remove_recipients);
  add(&decision_.add_recipients, &answer->add_recipients);
  if (answer->changes_sender) {
    decision_.changes_sender = true;
    decision_.sender = std::move(answer->sender);
  }
  if (answer->quarantine && !std::exchange(decision_.quarantine, true))
    decision_.reason = std::move(answer->reason);
}

void ChainSession::Decide(Verdict verdict, std::string text) {
  decision_.verdict = verdict;
  decision_.text = std::move(text);
  if (verdict == Verdict::kReject || verdict == Verdict::kDisconnect)
    CheckReply();
  open_ = false;
  TellResponse();
  door_->Send(decision_);
  if (question_.phase != FilterPhase::kAuth) return;
  Wipe(&question_.argument);
  Wipe(&decision_.text);
}

// (reference part 2, section 7.6)
void ChainSession::CheckReply() {
  decision_.text = AsReply(std::move(decision_.text));
  if (decision_.text.empty()) decision_.text = kNoReply;
  if (absl::StartsWith(decision_.text, "421"))
    decision_.verdict = Verdict::kDisconnect;
}

void ChainSession::TellResponse() {
  std::vector<std::string> fields = {
      std::string(FilterPhaseInResponse(question_.phase)),
      std::string(ResponseWord(decision_.verdict))};
  if (question_.phase == FilterPhase::kAuth &&
      decision_.verdict == Verdict::kRewrite)
    fields.push_back(kMaskedArgument);
  else if (!decision_.text.empty())
    fields.push_back(decision_.text);
  Report(loop_->Now(), FilterEvent::kFilterResponse, fields);
}

// ---- Text

bool ChainSession::OnText(const FilterText& text) {
  if (text_ == Text::kDropped) return true;
  if (facts_.outgoing || text_ == Text::kEnded) return false;
  if (text_ == Text::kNone) {
    text_ = Text::kFlowing;
    stages_ = std::make_unique<TextChain>(
        loop_, static_cast<TextChain::Owner*>(this), links_);
    stale_out_ = std::exchange(untaken_out_, 0);
  }
  untaken_in_ += text.bytes.size();
  if (untaken_in_ > kFilterWindow) return false;
  if (stages_->empty()) {
    // All that wanted it are gone, and may be missing.  What comes back is
    // bounded as what goes in: credit is given when it is taken.
    OnChainText(text.bytes);
    if (text.end) OnChainEnd();
    return true;
  }
  if (!text.bytes.empty()) stages_->Write(text.bytes);
  if (!text.end || text_ != Text::kFlowing) return true;
  text_ = Text::kEnded;
  stages_->End();
  return true;
}

bool ChainSession::OnTaken(const FilterTextTaken& taken) {
  if (text_ == Text::kDropped) return true;
  const size_t stale = std::min<size_t>(stale_out_, taken.bytes);
  stale_out_ -= stale;
  const size_t bytes = taken.bytes - stale;
  if (bytes > untaken_out_) return false;
  untaken_out_ -= bytes;
  if (bytes == 0 || stages_ == nullptr) return true;
  if (stages_->empty())
    OnChainTaken(bytes);
  else
    stages_->OutputTaken(bytes);
  return true;
}

void ChainSession::OnDropped() {
  text_ = Text::kNone;
  stages_.reset();
  old_stages_.clear();
  untaken_in_ = untaken_out_ = stale_out_ = 0;
  door_->Send(FilterTextDropped{facts_.session, ""});
}

void ChainSession::OnChainText(absl::string_view bytes) {
  if (bytes.empty()) return;
  untaken_out_ += bytes.size();
  door_->Send(FilterText{facts_.session, std::string(bytes), false});
}

void ChainSession::OnChainEnd() {
  text_ = Text::kNone;
  door_->Send(FilterText{facts_.session, "", true});
  OnChainTaken(untaken_in_);
  RetireStages();
}

void ChainSession::OnChainFailed(std::string reply) {
  text_ = Text::kDropped;
  reply = AsReply(std::move(reply));
  door_->Send(
      FilterTextDropped{facts_.session, reply.empty() ? kNoReply : reply});
  untaken_in_ = untaken_out_ = stale_out_ = 0;
  RetireStages();
}

void ChainSession::OnChainTaken(size_t bytes) {
  bytes = std::min(bytes, untaken_in_);
  if (bytes == 0) return;
  untaken_in_ -= bytes;
  door_->Send(FilterTextTaken{facts_.session, static_cast<uint32_t>(bytes)});
}

// Not at once: this may run inside a call of a stage.
void ChainSession::RetireStages() {
  old_stages_.push_back(std::move(stages_));
  loop_->AtTurnEnd([this, alive = alive_] {
    if (*alive) old_stages_.clear();
  });
}

}  // namespace holdfast
