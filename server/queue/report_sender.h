// Turns the store's pending reports into mail (reference part 2, section 4.1).
//
// The rows in the store are the truth: whatever is there is reported sooner or
// later, also after a crash; what is kept here is a window and the times of
// retries.  Reports on one message wait for one second after the last, so that
// its recipients become one notice.
#ifndef HOLDFAST_SERVER_QUEUE_REPORT_SENDER_H_
#define HOLDFAST_SERVER_QUEUE_REPORT_SENDER_H_

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/queue/queue_services.h"
#include "server/queue/report_job.h"

namespace holdfast {

// Used on the loop's thread.
class ReportSender {
 public:
  static constexpr size_t kMaxActive = 2;
  // Rows read at once; also the most that one report tells of.
  static constexpr size_t kPage = 1000;
  // Groups whose time of retry is remembered.
  static constexpr size_t kMaxWaiting = 100000;
  static constexpr absl::Duration kGather = absl::Seconds(1);
  static constexpr absl::Duration kRetryBase = absl::Seconds(10);
  // How often the log says that a filter is waited for.
  static constexpr absl::Duration kFilterLog = absl::Minutes(1);

  // `services` outlives it.  Looks for pending reports at once.
  explicit ReportSender(QueueServices* services);
  ~ReportSender();

  // A commit added reports.
  void OnReportsAdded();
  // What the filter of the local socket wants is known (again).
  void OnFilterKnown();

  // Reports being made now.
  size_t active() const { return active_.size(); }

 private:
  struct Waiting {
    uint32_t failures = 0;
    bool small = false;   // there was no room for all of it
    absl::Duration next;  // loop time
  };
  struct Page {
    std::vector<PendingReport> rows;
    bool accepting = true;
  };
  struct Guard {};

  void Pump();
  bool Paused();
  bool WaitsForFilter();
  void ReadPage();
  void OnPage(absl::StatusOr<Page> page);
  void TakeGroups(std::vector<PendingReport> rows);
  bool IsReady(const ReportGroup& group);
  void StartJob(ReportGroup group);
  void OnJobDone(const std::string& key, ReportJob::Result result,
                 const std::string& line);
  void RetryLater(const std::string& key, const std::string& line,
                  const ReportGroup& group, bool small);
  void Drop(const std::string& key, std::vector<ReportKey> reports);
  void Ended(const std::string& key);
  void WakeAfter(absl::Duration delay);

  QueueServices* const services_;
  // Callbacks that come when it is gone find this gone.
  std::shared_ptr<Guard> guard_ = std::make_shared<Guard>();

  bool again_ = true;  // another pass is wanted after this one
  bool reading_ = false;
  std::optional<ReportKey> cursor_;  // in the middle of a pass
  bool accepting_ = true;            // else headers only, one at a time
  std::deque<ReportGroup> ready_;
  std::map<std::string, std::shared_ptr<ReportJob>> active_;  // null: dropping
  // Ended while a page was being read: what the page says of them is old.
  std::set<std::string> ended_;
  std::map<std::string, Waiting> waiting_;
  absl::Duration overload_until_ = absl::ZeroDuration();
  absl::Duration filter_logged_ = -absl::InfiniteDuration();
  absl::Duration wake_at_ = absl::InfiniteDuration();
  EventLoop::Timer timer_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_REPORT_SENDER_H_
