#include "server/filters/milter_link_session.h"

#include <cstdlib>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "protocol/vis.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

using Verdict = LinkAnswer::Verdict;

constexpr char kMissing[] = "421 4.3.0 Temporary failure";

LinkAnswer Say(Verdict verdict, std::string text) {
  LinkAnswer answer;
  answer.verdict = verdict;
  answer.text = std::move(text);
  return answer;
}

// "192.0.2.1:25", "[2001:db8::1]:25" or "unix:/path".
struct Endpoint {
  char family = '4';
  std::string address = "127.0.0.1";
  uint16_t port = 0;
  bool local = true;
};
Endpoint ParseEndpoint(absl::string_view text) {
  Endpoint endpoint;
  const size_t colon = text.rfind(':');
  // Mail of this host's own programs comes, for a milter, from 127.0.0.1.
  if (absl::StartsWith(text, "unix:") || colon == absl::string_view::npos)
    return endpoint;
  endpoint.local = false;
  uint32_t port = 0;
  if (absl::SimpleAtoi(text.substr(colon + 1), &port))
    endpoint.port = static_cast<uint16_t>(port);
  text = text.substr(0, colon);
  if (absl::ConsumePrefix(&text, "[") && absl::ConsumeSuffix(&text, "]"))
    endpoint.family = '6';
  endpoint.address = std::string(text);
  return endpoint;
}

// As macros have it.
std::string MacroAddress(const Endpoint& endpoint) {
  return absl::StrCat(endpoint.family == '6' ? "IPv6:" : "", endpoint.address);
}

std::vector<std::string> Words(absl::string_view text) {
  return absl::StrSplit(text, ' ', absl::SkipEmpty());
}

}  // namespace

MilterLinkSession::MilterLinkSession(const Filter& filter,
                                     const MilterServices& services,
                                     const SessionFacts& facts)
    : filter_(filter), services_(services), facts_(facts) {}

MilterLinkSession::~MilterLinkSession() {
  *alive_ = false;
  if (stage_ != nullptr) stage_->Detach();
}

bool MilterLinkSession::Wants(FilterPhase phase) const {
  if (facts_.outgoing || (kMilterPhases & MaskOf(phase)) == 0) return false;
  // A verdict that was given stands, whatever becomes of the milter.
  if (phase == FilterPhase::kCommit) return at_commit_.has_value();
  if (phase == FilterPhase::kDataLine && at_commit_.has_value()) return false;
  if (failed_) return !filter_.care.accept_on_failure;
  if (phase == FilterPhase::kDataLine)
    return refused_.has_value() || (told_mail_ && connection_ != nullptr &&
                                    connection_->session().wants_message());
  return !finished_ || refused_.has_value();
}

void MilterLinkSession::Ask(const FilterQuestion& question, Done done) {
  if (question.phase == FilterPhase::kCommit) {
    LinkAnswer answer = std::move(at_commit_).value_or(LinkAnswer());
    at_commit_.reset();
    return done(std::move(answer));
  }
  if (failed_)
    return done(filter_.care.accept_on_failure
                    ? LinkAnswer()
                    : Say(Verdict::kDisconnect, kMissing));
  if (refused_.has_value()) return done(*refused_);
  done_ = std::move(done);
  Plan(question);
  Go();
}

// What the milter is to be told for this question, and before it what it has
// not heard, since a link before us kept the question to itself.
void MilterLinkSession::Plan(const FilterQuestion& question) {
  if (!std::exchange(told_connect_, true)) PlanConnect();
  const std::string argument = question.argument;
  std::vector<std::string> parameters = Words(question.parameters);
  switch (question.phase) {
    case FilterPhase::kHelo:
    case FilterPhase::kEhlo:
      steps_.push_back(
          {question.phase, [this, argument](MilterSession& milter) {
             SetMacros();
             return milter.Helo(argument);
           }});
      break;
    case FilterPhase::kMailFrom:
      PlanMail(argument, question.parameters);
      break;
    case FilterPhase::kRcptTo:
      if (!told_mail_) PlanMail(facts_.sender, "");
      steps_.push_back(
          {question.phase, [this, argument, parameters = std::move(parameters)](
                               MilterSession& milter) {
             SetMacros();
             SetMacro("rcpt_addr", argument);
             return milter.Rcpt(absl::StrCat("<", argument, ">"), parameters);
           }});
      break;
    case FilterPhase::kData:
      if (!told_mail_) PlanMail(facts_.sender, "");
      steps_.push_back({question.phase, [this](MilterSession& milter) {
                          SetMacros();
                          return milter.Data();
                        }});
      break;
    default:
      break;
  }
}

void MilterLinkSession::PlanConnect() {
  steps_.push_back(
      {FilterPhase::kConnect, [this](MilterSession& milter) {
         const Endpoint client = ParseEndpoint(facts_.source);
         const Endpoint here = ParseEndpoint(facts_.destination);
         const bool known = client.local || facts_.fcrdns == "pass";
         const std::string name = client.local ? "localhost" : facts_.rdns;
         const std::string bracketed =
             absl::StrCat("[", MacroAddress(client), "]");
         const std::string host = known ? name : bracketed;
         SetMacro("j", services_.server_name);
         SetMacro("v", "Holdfast");
         SetMacro("daemon_name", "smtpd");
         SetMacro("daemon_addr", MacroAddress(here));
         SetMacro("daemon_port", absl::StrCat(here.port));
         SetMacro("client_addr", MacroAddress(client));
         SetMacro("client_port", absl::StrCat(client.port));
         SetMacro("client_name", known ? name : "unknown");
         SetMacro("client_ptr", name == "<unknown>" ? "unknown" : name);
         SetMacro("_", known ? absl::StrCat(host, " ", bracketed) : host);
         return milter.Connect(host, client.family, client.port,
                               client.address);
       }});
}

void MilterLinkSession::PlanMail(const std::string& address,
                                 const std::string& parameters) {
  told_mail_ = true;
  at_commit_.reset();
  steps_.push_back(
      {FilterPhase::kMailFrom,
       [this, address, parameters = Words(parameters)](MilterSession& milter) {
         SetMacros();
         SetMacro("mail_addr", address);
         return milter.Mail(absl::StrCat("<", address, ">"), parameters);
       }});
}

void MilterLinkSession::SetMacro(absl::string_view name,
                                 absl::string_view value) {
  connection_->session().SetMacro(name, value);
}

void MilterLinkSession::SetMacros() {
  SetMacro("i", facts_.message);
  SetMacro("auth_authen", facts_.user);
  SetMacro("auth_type", facts_.user.empty() ? "" : "SASL");
  const std::vector<std::string> tls = absl::StrSplit(facts_.tls, ':');
  SetMacro("tls_version", tls[0]);
  SetMacro("cipher", tls.size() > 1 ? tls[1] : "");
  SetMacro("cipher_bits", tls.size() > 2 ? tls[2] : "");
}

void MilterLinkSession::Connect() {
  connecting_ = true;
  services_.connect(
      filter_.name, [this, alive = alive_](absl::StatusOr<OwnedFd> fd) {
        if (!*alive) return;
        connecting_ = false;
        if (!fd.ok())
          return OnMilterFailed(
              absl::StrCat("cannot connect to ", filter_.milter, ": ",
                           VisEncode(std::string(fd.status().message()))));
        connection_ = std::make_unique<MilterConnection>(
            services_.loop, *std::move(fd), filter_.care.timeout, this);
      });
}

// Goes on with the question, if there is one and the milter can hear it.
void MilterLinkSession::Go() {
  if (!done_) return;
  if (finished_) return Finish(refused_.value_or(LinkAnswer()));
  if (connection_ == nullptr) {
    if (!connecting_) Connect();
    return;
  }
  while (!steps_.empty()) {
    if (!connection_->session().ready()) return;
    Step step = std::move(steps_.front());
    steps_.pop_front();
    const bool due = step.tell(connection_->session());
    connection_->Flush();
    if (due) {
      asked_ = step.phase;
      return;
    }
  }
  Finish(LinkAnswer());
}

void MilterLinkSession::OnMilterAnswer(MilterAnswer answer) {
  if (stage_talks_) return stage_->OnAnswer(std::move(answer));
  if (!asked_.has_value()) {
    // The answer to what nobody waits for any more.
    if (std::exchange(abort_due_, false)) Abort();
    RefuseIfFinished();
    return Go();
  }
  const FilterPhase phase = *asked_;
  asked_.reset();
  LinkAnswer meaning = Meaning(std::move(answer), phase);
  LetGoIfFinished();
  if (meaning.verdict == Verdict::kProceed) return Go();
  Finish(std::move(meaning));
}

void MilterLinkSession::LetGoIfFinished() {
  if (connection_ == nullptr || !connection_->session().finished()) return;
  finished_ = true;
  connection_ = nullptr;
}

void MilterLinkSession::RefuseIfFinished() {
  LetGoIfFinished();
  if (finished_) refused_ = Say(Verdict::kDisconnect, kMissing);
}

LinkAnswer MilterLinkSession::Meaning(MilterAnswer answer, FilterPhase phase) {
  const bool about_session = phase == FilterPhase::kConnect ||
                             phase == FilterPhase::kHelo ||
                             phase == FilterPhase::kEhlo;
  LinkAnswer meaning;
  switch (answer.kind) {
    case MilterAnswer::Kind::kContinue:
    case MilterAnswer::Kind::kAccept:
      return meaning;
    case MilterAnswer::Kind::kDiscard:
      at_commit_ = Say(Verdict::kDiscard, "");
      return meaning;
    case MilterAnswer::Kind::kReject:
      meaning = Say(Verdict::kReject, std::move(answer.text));
      break;
    case MilterAnswer::Kind::kTempFail:
      // RFC 5321 3.1 knows no session that is refused for now, and goes on.
      meaning = Say(phase == FilterPhase::kConnect ? Verdict::kDisconnect
                                                   : Verdict::kReject,
                    std::move(answer.text));
      break;
    case MilterAnswer::Kind::kDisconnect:
      meaning = Say(Verdict::kDisconnect, std::move(answer.text));
      break;
  }
  if (about_session || meaning.verdict == Verdict::kDisconnect)
    refused_ = meaning;
  return meaning;
}

void MilterLinkSession::Finish(LinkAnswer answer) {
  steps_.clear();
  Done done = std::move(done_);
  done_ = nullptr;
  done(std::move(answer));
}

void MilterLinkSession::OnMilterChange(MilterChange change) {
  if (stage_talks_) stage_->OnChange(std::move(change));
}

void MilterLinkSession::OnMilterWritable() {
  if (stage_talks_) stage_->OnWritable();
}

void MilterLinkSession::OnMilterFailed(const std::string& why) {
  LogWarn("warn: filter %s: %s", filter_.name, why);
  failed_ = true;
  connection_ = nullptr;
  asked_.reset();
  if (stage_talks_) return stage_->OnFailed();
  if (!done_) return;
  Finish(filter_.care.accept_on_failure ? LinkAnswer()
                                        : Say(Verdict::kDisconnect, kMissing));
}

void MilterLinkSession::OnReport(absl::Time /*at*/, FilterEvent event,
                                 const std::vector<std::string>& /*fields*/) {
  if (event != FilterEvent::kTxReset && event != FilterEvent::kTxRollback)
    return;
  told_mail_ = false;
  at_commit_.reset();
  Abort();
}

// The milter is to forget the message, if it knows of one.
void MilterLinkSession::Abort() {
  if (connection_ == nullptr) return;
  if (!connection_->session().ready()) {
    abort_due_ = true;
    return;
  }
  connection_->session().Abort();
  connection_->Flush();
}

std::unique_ptr<TextStage> MilterLinkSession::BeginText(TextSink* sink) {
  if (failed_ && filter_.care.accept_on_failure) return nullptr;
  MilterStage::Settings settings;
  settings.message = facts_.message;
  settings.missing = failed_ || refused_.has_value();
  settings.accept_on_failure = filter_.care.accept_on_failure;
  settings.max_message_size = services_.max_message_size;
  settings.background = services_.background;
  settings.folder = services_.folder;
  settings.filter = filter_.name;
  auto stage = std::make_unique<MilterStage>(std::move(settings), sink, this);
  stage_ = stage.get();
  stage_talks_ = true;
  return stage;
}

void MilterLinkSession::OnStageEnded(LinkAnswer at_commit) {
  stage_talks_ = false;
  const bool plain = at_commit.verdict == Verdict::kProceed &&
                     !at_commit.changes_sender &&
                     at_commit.remove_recipients.empty() &&
                     at_commit.add_recipients.empty() && !at_commit.quarantine;
  if (!plain) at_commit_ = std::move(at_commit);
}

void MilterLinkSession::OnStageOver() {
  stage_talks_ = false;
  Abort();
  RefuseIfFinished();
}

void MilterLinkSession::OnStageDropped() {
  if (std::exchange(stage_talks_, false)) Abort();
  stage_ = nullptr;
}

}  // namespace holdfast
