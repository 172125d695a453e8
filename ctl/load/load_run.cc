#include "ctl/load/load_run.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace holdfast {
namespace {

constexpr int64_t kReconnectMs = 50;
// Without --reconnect: a server that is not there after so many tries in a
// row ends the run.
constexpr int64_t kFailuresInRow = 20;
constexpr size_t kReplyKinds = 64;  // at most so many are counted apart

}  // namespace

LoadRun::LoadRun(Poller* poller, const LoadPlan& plan,
                 const SocketAddress& server, LedgerWriter* ledger)
    : poller_(poller),
      plan_(plan),
      server_(server),
      ledger_(ledger),
      bodies_(MakeLoadBodies(plan.bodies, plan.size, plan.first)),
      date_(absl::FormatTime(absl::RFC1123_full, absl::Now(),
                             absl::UTCTimeZone())) {
  poller_->SetRoundHook([this] { EndOfRound(); });
}

LoadRun::~LoadRun() { poller_->SetRoundHook(nullptr); }

void LoadRun::Start() {
  started_ms_ = ended_ms_ = Poller::NowMs();
  const int64_t wanted = std::min(plan_.connections, plan_.messages);
  for (int64_t i = 0; i < wanted; ++i) Connect();
  poller_->After(1000, [this] { EverySecond(); });
}

void LoadRun::Connect() {
  absl::StatusOr<int> fd = ConnectTo(server_);
  if (!fd.ok()) {
    status_ = fd.status();
    return CutAll("no socket");
  }
  ++counts_.connections;
  auto session = std::make_unique<LoadSession>(poller_, *fd, &plan_, this);
  LoadSession* key = session.get();
  sessions_[key] = std::move(session);
}

void LoadRun::ConnectLater(int64_t delay_ms) {
  ++pending_connects_;
  poller_->After(delay_ms, [this] {
    --pending_connects_;
    if (!stopping_ && !AllStarted()) Connect();
  });
}

void LoadRun::OnReady(LoadSession* session) {
  failures_in_row_ = 0;
  const bool worn =
      plan_.per_connection > 0 && session->sent() >= plan_.per_connection;
  if (stopping_ || AllStarted() || worn) return session->Quit();
  if (plan_.rate == 0) return SendNext(session);
  const int64_t due = started_ms_ + next_ * 1000 / plan_.rate;
  const int64_t wait = due - Poller::NowMs();
  if (wait <= 0) return SendNext(session);
  held_[session] = poller_->After(wait, [this, session] {
    held_.erase(session);
    OnReady(session);
  });
}

void LoadRun::SendNext(LoadSession* session) {
  const int64_t number = plan_.first + next_;
  session->Send(number, &bodies_[next_ % bodies_.size()], date_);
  ++next_;
}

void LoadRun::OnOutcome(const LoadOutcome& outcome) {
  ended_ms_ = Poller::NowMs();
  counts_.refused_recipients += outcome.refused_recipients;
  LedgerEntry entry;
  entry.id = plan_.Id(outcome.number);
  entry.recipients = outcome.recipients;
  switch (outcome.kind) {
    case LoadOutcome::Kind::kAcknowledged:
      ++counts_.acknowledged;
      counts_.recipients += outcome.recipients.size();
      counts_.bytes += outcome.bytes;
      latency_.Add(outcome.wait_us);
      entry.msgid = outcome.msgid;
      return ledger_->Add(std::move(entry));
    case LoadOutcome::Kind::kUnknown:
      ++counts_.unknown;
      entry.kind = LedgerEntry::Kind::kUnknown;
      return ledger_->Add(std::move(entry));
    case LoadOutcome::Kind::kTemporary:
      ++counts_.temporary;
      break;
    case LoadOutcome::Kind::kRefused:
      ++counts_.refused;
      break;
    case LoadOutcome::Kind::kCut:
      ++counts_.cut;
      return;
  }
  const std::string code = outcome.reply.substr(0, 9);
  if (outcome.complete) {
    entry.kind = LedgerEntry::Kind::kRefused;
    ledger_->Add(std::move(entry));
  }
  if (replies_.size() < kReplyKinds || replies_.count(code)) ++replies_[code];
}

void LoadRun::OnEnd(LoadSession* session, bool greeted,
                    const std::string& why) {
  const auto held = held_.find(session);
  if (held != held_.end()) {
    poller_->Cancel(held->second);
    held_.erase(held);
  }
  auto node = sessions_.extract(session);
  ended_.push_back(std::move(node.mapped()));
  if (!greeted) {
    ++counts_.failed_connections;
    ++failures_in_row_;
    if (!plan_.reconnect && failures_in_row_ >= kFailuresInRow) {
      status_ = absl::UnavailableError(absl::StrCat("no server: ", why));
      return CutAll("no server");
    }
  }
  if (stopping_ || AllStarted()) return;
  ConnectLater(greeted && session->sent() > 0 ? 0 : kReconnectMs);
}

void LoadRun::EndOfRound() {
  ended_.clear();
  const absl::Status written = ledger_->Flush();
  if (!written.ok() && status_.ok()) {
    status_ = written;
    CutAll("no ledger");
  }
  if (sessions_.empty() && (stopping_ || pending_connects_ == 0)) {
    poller_->Stop();
  }
}

void LoadRun::EverySecond() {
  const int64_t now = Poller::NowMs();
  if (now - started_ms_ > plan_.seconds * 1000) return CutAll("out of time");
  std::vector<LoadSession*> stuck;
  for (const auto& [session, unused] : sessions_) {
    const int64_t since = session->waiting_since_ms();
    if (since != 0 && now - since > plan_.reply_seconds * 1000) {
      stuck.push_back(session);
    }
  }
  for (LoadSession* session : stuck) session->Cut("no answer");
  poller_->After(1000, [this] { EverySecond(); });
}

void LoadRun::CutAll(const std::string& why) {
  stopping_ = true;
  while (!sessions_.empty()) sessions_.begin()->first->Cut(why);
}

bool LoadRun::complete() const {
  return status_.ok() && counts_.acknowledged == plan_.messages &&
         counts_.refused_recipients == 0;
}

std::string LoadRun::StatsJson() const {
  const double seconds = std::max<int64_t>(ended_ms_ - started_ms_, 1) / 1e3;
  std::string replies;
  for (const auto& [code, count] : replies_) {
    std::string shown = code;
    for (char& c : shown) {
      if (c < ' ' || c > '~' || c == '"' || c == '\\') c = '?';
    }
    absl::StrAppend(&replies, replies.empty() ? "" : ",", "\"", shown,
                    "\":", count);
  }
  return absl::StrFormat(
      "{\"run\":\"%s\",\"messages\":%d,\"acknowledged\":%d,\"temporary\":%d,"
      "\"refused\":%d,\"cut\":%d,\"unknown\":%d,\"recipients\":%d,"
      "\"refused_recipients\":%d,\"bytes\":%d,\"connections\":%d,"
      "\"failed_connections\":%d,\"seconds\":%.3f,\"rate\":%.1f,"
      "\"reply_us_p50\":%d,\"reply_us_p99\":%d,\"replies\":{%s}}",
      plan_.run, plan_.messages, counts_.acknowledged, counts_.temporary,
      counts_.refused, counts_.cut, counts_.unknown, counts_.recipients,
      counts_.refused_recipients, counts_.bytes, counts_.connections,
      counts_.failed_connections, seconds, counts_.acknowledged / seconds,
      latency_.Quantile(0.5), latency_.Quantile(0.99), replies);
}

}  // namespace holdfast
