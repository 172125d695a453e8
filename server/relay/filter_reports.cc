#include "server/relay/filter_reports.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

// What link-connect says where there is no name.
constexpr char kUnknown[] = "<unknown>";

const char* ResultWord(SmtpClientEvent::Result result) {
  switch (result) {
    case SmtpClientEvent::Result::kOk:
      return "ok";
    case SmtpClientEvent::Result::kTempFail:
      return "tempfail";
    case SmtpClientEvent::Result::kPermFail:
      break;
  }
  return "permfail";
}

const char* AuthWord(SmtpClientEvent::Result result) {
  switch (result) {
    case SmtpClientEvent::Result::kOk:
      return "pass";
    case SmtpClientEvent::Result::kTempFail:
      return "error";
    case SmtpClientEvent::Result::kPermFail:
      break;
  }
  return "fail";
}

}  // namespace

bool FilterReports::Wanted(const std::string& filter) const {
  if (filter.empty()) return false;
  const FilterWants* const wants = client_.Wants(filter);
  return wants != nullptr && wants->out != 0;
}

std::unique_ptr<SessionReports> FilterReports::Begin(Link link) {
  if (!Wanted(link.filter) || !HasRoom()) return nullptr;
  FilterSession session;
  session.session = link.session;
  session.outgoing = true;
  session.filter = std::move(link.filter);
  session.rdns = link.rdns.empty() ? kUnknown : std::move(link.rdns);
  session.fcrdns = "pass";
  session.source = std::move(link.source);
  session.destination = std::move(link.destination);
  return std::unique_ptr<SessionReports>(new SessionReports(
      this, client_.Begin(std::move(session), nullptr), std::move(link.helo)));
}

// Ends of sessions are never dropped: `filters` would keep them for ever.
bool FilterReports::HasRoom() {
  if (client_.backlog() < kMaxBacklog) return true;
  ++dropped_;
  if (log_timer_ == nullptr) LogDropped();
  return false;
}

// At once, then as long as there is something new to say.
void FilterReports::LogDropped() {
  LogWarn("warn: smtp-out: filters does not keep up: reports dropped: %d",
          dropped_ - logged_);
  logged_ = dropped_;
  log_timer_ = loop_->RunAfter(kLogEvery, [this] {
    log_timer_.reset();
    if (logged_ != dropped_) LogDropped();
  });
}

// ---- a session

void SessionReports::Tell(FilterEvent event, std::vector<std::string> fields) {
  if (link_ == nullptr || link_->lost() || !link_->Wants(event)) return;
  if (owner_->HasRoom()) link_->Report(event, std::move(fields));
}

void SessionReports::TellTx(FilterEvent event,
                            std::vector<std::string> fields) {
  fields.insert(fields.begin(), ToString(transaction_.message));
  Tell(event, std::move(fields));
}

void SessionReports::OnTls(const std::string& ciphers) {
  Tell(FilterEvent::kLinkTls, {ciphers});
}

void SessionReports::OnTimeout() { Tell(FilterEvent::kTimeout); }

void SessionReports::OnEvent(const SmtpClientEvent& e) {
  using Kind = SmtpClientEvent::Kind;
  const Transaction& t = transaction_;
  const std::string text(e.text);
  switch (e.kind) {
    case Kind::kClientLine:
      return Tell(FilterEvent::kProtocolClient, {text});
    case Kind::kServerLine:
      return Tell(FilterEvent::kProtocolServer, {text});
    case Kind::kGreeting:
      return Tell(FilterEvent::kLinkGreeting, {text});
    case Kind::kIdentify:
      return Tell(FilterEvent::kLinkIdentify, {text, helo_});
    case Kind::kAuth:
      return Tell(FilterEvent::kLinkAuth, {AuthWord(e.result), text});
    case Kind::kMail:
      TellTx(FilterEvent::kTxBegin);
      return TellTx(FilterEvent::kTxMail, {"ok", t.sender});
    case Kind::kEnvelope:
      return TellTx(FilterEvent::kTxEnvelope,
                    {ToString(t.recipients[e.recipient].envelope)});
    case Kind::kRcpt:
      return TellTx(FilterEvent::kTxRcpt,
                    {ResultWord(e.result), t.recipients[e.recipient].path});
    case Kind::kData:
      return TellTx(FilterEvent::kTxData, {ResultWord(e.result)});
    case Kind::kCommit:
      TellTx(FilterEvent::kTxCommit, {absl::StrCat(e.octets)});
      return TellTx(FilterEvent::kTxReset);
    case Kind::kRollback:
      TellTx(FilterEvent::kTxRollback);
      return TellTx(FilterEvent::kTxReset);
  }
}

}  // namespace holdfast
