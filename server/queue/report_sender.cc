#include "server/queue/report_sender.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/vis.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

// While submissions are paused, how often to look whether they still are.
constexpr absl::Duration kPausedPoll = absl::Seconds(10);
// After the store could not be read, or too many reports failed.
constexpr absl::Duration kTroublePause = absl::Seconds(1);

ReportGroup GroupOf(const PendingReport& report, const Config& config) {
  ReportGroup group;
  group.message = MessageOf(report.key.envelope);
  group.smtpname = report.envelope.smtpname;
  group.kind = report.key.kind;
  if (group.kind == ReportKind::kDelayed)
    group.delay =
        std::max(report.envelope.last_bounce - report.envelope.Released(),
                 absl::ZeroDuration());
  group.ret = report.envelope.dsn_ret;
  const auto action = config.actions.find(report.envelope.action);
  if (action != config.actions.end()) {
    group.words_from = action->second.bounce_text;
    group.words = action->second.report_text;
  }
  return group;
}

void LogFailure(absl::string_view how, const ReportGroup& group,
                absl::string_view line) {
  LogWarn(
      "warn: %s injecting failure report on message %s to <%s> for %d "
      "envelope%s: %s",
      how, ToString(group.message), VisEncode(group.sender().ToString()),
      group.reports.size(), group.reports.size() == 1 ? "" : "s",
      VisEncode(line));
}

}  // namespace

ReportSender::ReportSender(QueueServices* services) : services_(services) {
  WakeAfter(absl::ZeroDuration());
}

ReportSender::~ReportSender() = default;

void ReportSender::OnReportsAdded() {
  again_ = true;
  // What was added now is looked at when it has gathered.
  if (active_.empty() && ready_.empty() && !reading_ && !cursor_)
    WakeAfter(kGather);
}

void ReportSender::Pump() {
  if (Paused()) return WakeAfter(kPausedPoll);
  if (overload_until_ > services_->loop()->Elapsed())
    return WakeAfter(overload_until_ - services_->loop()->Elapsed());
  if (!ready_.empty() && WaitsForFilter()) return WakeAfter(kFilterLog);
  const size_t limit = accepting_ ? kMaxActive : 1;
  while (active_.size() < limit && !ready_.empty()) {
    ReportGroup group = std::move(ready_.front());
    ready_.pop_front();
    StartJob(std::move(group));
  }
  if (reading_ || !ready_.empty() || active_.size() >= limit) return;
  if (!cursor_) {
    if (!again_) return;
    again_ = false;
    cursor_ = ReportKey{};
  }
  ReadPage();
}

// As the reference: its reports go through a local session, and `pause smtp`
// refuses those.
bool ReportSender::Paused() { return services_->IsSmtpPaused(); }

// Nothing is tried while nobody could say whether it may go.
bool ReportSender::WaitsForFilter() {
  const std::string& filter = services_->config().socket_listener.filter;
  if (filter.empty() || services_->filters()->Wants(filter) != nullptr)
    return false;
  const absl::Duration now = services_->loop()->Elapsed();
  if (now - filter_logged_ >= kFilterLog) {
    filter_logged_ = now;
    LogWarn("warn: queue: reports wait for filter %s", VisEncode(filter));
  }
  return true;
}

void ReportSender::OnFilterKnown() {
  if (!ready_.empty()) WakeAfter(absl::ZeroDuration());
}

void ReportSender::ReadPage() {
  reading_ = true;
  ended_.clear();
  EventLoop* loop = services_->loop();
  services_->store()->ReadLater([this, loop, after = *cursor_,
                                 weak = std::weak_ptr<Guard>(guard_)](
                                    absl::StatusOr<const QueueView*> view) {
    absl::StatusOr<Page> page = absl::UnavailableError("no view");
    if (view.ok())
      page = Page{(*view)->Reports(after, kPage), (*view)->Stats().accepting};
    loop->Post([this, weak, page = std::move(page)]() mutable {
      if (weak.lock()) OnPage(std::move(page));
    });
  });
}

void ReportSender::OnPage(absl::StatusOr<Page> page) {
  reading_ = false;
  if (!page.ok()) {
    cursor_.reset();
    again_ = true;
    return WakeAfter(kTroublePause);
  }
  accepting_ = page->accepting;
  std::vector<PendingReport> rows = std::move(page->rows);
  const bool more = rows.size() >= kPage;
  if (more) {
    // The last message may go on behind the page; if it is not the only one it
    // is read again with the next.
    const MessageId last = MessageOf(rows.back().key.envelope);
    if (MessageOf(rows.front().key.envelope) != last)
      while (MessageOf(rows.back().key.envelope) == last) rows.pop_back();
    cursor_ = rows.back().key;
  } else {
    cursor_.reset();
  }
  TakeGroups(std::move(rows));
  Pump();
}

void ReportSender::TakeGroups(std::vector<PendingReport> rows) {
  std::map<std::string, ReportGroup> groups;
  std::vector<ReportKey> undeliverable;
  for (PendingReport& row : rows) {
    if (row.envelope.sender.user.empty()) {
      LogWarn("warn: queue: no return path!");
      undeliverable.push_back(row.key);
      continue;
    }
    ReportGroup group = GroupOf(row, services_->config());
    ReportGroup& place =
        groups.try_emplace(group.Key(), std::move(group)).first->second;
    place.reports.push_back(std::move(row));
  }
  if (!undeliverable.empty()) Drop("", std::move(undeliverable));
  for (auto& [key, group] : groups) {
    if (active_.count(key) != 0 || ended_.count(key) != 0) continue;
    if (IsReady(group)) ready_.push_back(std::move(group));
  }
}

bool ReportSender::IsReady(const ReportGroup& group) {
  const auto waiting = waiting_.find(group.Key());
  if (waiting != waiting_.end()) {
    const absl::Duration left =
        waiting->second.next - services_->loop()->Elapsed();
    if (left > absl::ZeroDuration()) {
      WakeAfter(left);
      return false;
    }
  }
  absl::Time last = absl::InfinitePast();
  for (const PendingReport& r : group.reports) last = std::max(last, r.added);
  const absl::Duration left = last + kGather - services_->loop()->Now();
  // A clock that was set back makes no report wait.
  if (left <= absl::ZeroDuration() || left > kGather) return true;
  WakeAfter(left);
  return false;
}

void ReportSender::StartJob(ReportGroup group) {
  const std::string key = group.Key();
  const auto waiting = waiting_.find(key);
  const bool small =
      !accepting_ || (waiting != waiting_.end() && waiting->second.small);
  // The rest stays in the store for the next pass.
  if (small && group.reports.size() > kMaxSmallRecipients)
    group.reports.resize(kMaxSmallRecipients);
  auto job = std::make_shared<ReportJob>(
      services_, std::move(group), small,
      [this, weak = std::weak_ptr<Guard>(guard_), key](
          ReportJob::Result result, const std::string& line) {
        if (weak.lock()) OnJobDone(key, result, line);
      });
  active_[key] = job;
  job->Start();
}

void ReportSender::OnJobDone(const std::string& key, ReportJob::Result result,
                             const std::string& line) {
  const auto place = active_.find(key);
  if (place == active_.end()) return;
  // Keeps it until its own function has returned.
  const std::shared_ptr<ReportJob> job = std::move(place->second);
  switch (result) {
    case ReportJob::Result::kSettled:
      Ended(key);
      waiting_.erase(key);
      break;
    case ReportJob::Result::kRefused:
      LogFailure("PermFail", job->group(), line);
      Drop(key, job->group().Keys());
      break;
    case ReportJob::Result::kLater:
    case ReportJob::Result::kNoRoom:
      RetryLater(key, line, job->group(), result == ReportJob::Result::kNoRoom);
      break;
  }
  // Also for what was added to this group while it was in work.
  again_ = true;
  WakeAfter(absl::ZeroDuration());
}

void ReportSender::RetryLater(const std::string& key, const std::string& line,
                              const ReportGroup& group, bool small) {
  absl::Time oldest = absl::InfiniteFuture();
  for (const PendingReport& r : group.reports)
    oldest = std::min(oldest, r.added);
  if (oldest + services_->config().queue_ttl < services_->loop()->Now()) {
    LogFailure("PermFail", group, absl::StrCat("Envelope expired: ", line));
    return Drop(key, group.Keys());
  }
  LogFailure("TempFail", group, line);
  Ended(key);
  if (waiting_.size() >= kMaxWaiting && waiting_.count(key) == 0) {
    // No room to remember it: slower for all, then.
    overload_until_ = services_->loop()->Elapsed() + kTroublePause;
    return;
  }
  Waiting& waiting = waiting_[key];
  ++waiting.failures;
  waiting.small = small;
  const absl::Duration delay =
      kRetryBase * static_cast<int64_t>(waiting.failures) * waiting.failures;
  waiting.next = services_->loop()->Elapsed() + delay;
}

// `key`: of the group that stays busy until then; empty: none.
void ReportSender::Drop(const std::string& key,
                        std::vector<ReportKey> reports) {
  QueueBatch batch;
  batch.push_back(DropReports{std::move(reports)});
  auto done = [this, key,
               weak = std::weak_ptr<Guard>(guard_)](BatchResult result) {
    if (!weak.lock()) return;
    Ended(key);
    waiting_.erase(key);
    again_ = true;
    WakeAfter(result.status.ok() ? absl::ZeroDuration() : kTroublePause);
  };
  services_->Commit(std::move(batch), std::move(done));
}

void ReportSender::Ended(const std::string& key) {
  active_.erase(key);
  if (reading_) ended_.insert(key);
}

void ReportSender::WakeAfter(absl::Duration delay) {
  const absl::Duration at = services_->loop()->Elapsed() + delay;
  if (timer_ && wake_at_ <= at) return;
  wake_at_ = at;
  timer_ = services_->loop()->RunAfter(delay, [this] {
    timer_.reset();
    again_ = true;
    Pump();
  });
}

}  // namespace holdfast
