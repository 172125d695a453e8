// Messages that `sendmail` left in the offline folder while no daemon ran
// (reference part 2, section 6.3).  Anybody may write there: nothing in it is
// trusted.  A message is what was made there (its group is the folder's, which
// is set-group-id: nobody can give another's file that group), is nobody else's
// to read (0600), and begins as sendmail begins it; it is handed in as its
// owner.  What is kept of each owner is limited (offline_limits.h).
#ifndef HOLDFAST_SERVER_PARENT_OFFLINE_RUNNER_H_
#define HOLDFAST_SERVER_PARENT_OFFLINE_RUNNER_H_

#include <dirent.h>

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/door/door.h"
#include "server/loop/event_loop.h"
#include "server/parent/offline_limits.h"
#include "server/parent/processes.h"

namespace holdfast {

inline constexpr absl::Duration kOfflineFirst = absl::Seconds(1);
inline constexpr absl::Duration kOfflineEvery = absl::Minutes(1);
// Looked at in one turn; then the others come first for a while.
inline constexpr int kOfflineSlice = 20;
inline constexpr absl::Duration kOfflinePause = absl::Milliseconds(100);
inline constexpr size_t kMaxOfflineRuns = 5;
inline constexpr absl::Duration kOfflineDeadline = absl::Minutes(5);
// A message that was refused is tried again after this.
inline constexpr absl::Duration kOfflineRetry = absl::Minutes(10);
inline constexpr size_t kMaxOfflineRefused = 10000;
inline constexpr size_t kMaxOfflineArguments = 64 << 10;

// A message as it lies in the folder.
struct OfflineMessage {
  OwnedFd fd;  // positioned behind the first line
  uint32_t owner = 0;
  uint64_t device = 0, inode = 0;
  bool empty = false;  // left by a sendmail that was killed
  std::vector<std::string> arguments;
};

// Opens `name` in the folder `dir`: a regular file, not a link, with one name,
// mode and group of a message, of at most `max_bytes`.  kInvalidArgument: it is
// none of that.
absl::StatusOr<OfflineMessage> OpenOffline(int dir, const std::string& name,
                                           uint64_t max_bytes);

// Used on the loop's thread.
class OfflineRunner {
 public:
  struct Options {
    std::string folder;
    uint64_t max_message_size = 0;
    std::string agent;    // smtpd-agent, which becomes the owner
    std::string smtpctl;  // empty: not found; messages stay
    std::string spool;    // for SMTPD_SPOOL; empty: the system's place
    bool privileged = false;
    uint32_t own_uid = 0;  // not privileged: only this owner's are taken
  };

  OfflineRunner(EventLoop* loop, Processes* processes, Options options)
      : loop_(loop), processes_(processes), options_(std::move(options)) {}

  void Begin();

 private:
  struct CloseDir {
    void operator()(DIR* dir) const { closedir(dir); }
  };
  struct Run {
    pid_t pid = 0;
    uint64_t device = 0, inode = 0;
    EventLoop::Timer deadline;
  };

  void After(absl::Duration delay);
  void Scan();
  // False: the folder can't be read.
  bool BeginScan();
  void EndScan();
  void Consider(const std::string& name);
  // Whether `name` may stay; else it has been removed.
  bool Keep(const std::string& name);
  void Launch(const std::string& name, OfflineMessage message);
  void OnExit(const std::string& name, int wait_status);
  void Refuse(const std::string& name, const std::string& cause);
  // Removes `name` if it still is what was looked at.
  void Remove(const std::string& name, uint64_t device, uint64_t inode);

  EventLoop* const loop_;
  Processes* const processes_;
  const Options options_;
  std::unique_ptr<DIR, CloseDir> dir_;  // while a scan is going on
  OwnedFd folder_;
  EventLoop::Timer next_;
  // In the first scan nothing is too much: that is what came while nobody could
  // hand it in.
  bool limits_hold_ = false;
  uid_t folder_owner_ = 0;
  gid_t folder_group_ = 0;
  OfflineUsage usage_;            // of this scan
  int removals_ = 0;              // that this scan still may do in folders
  std::map<uid_t, int> removed_;  // of whom, in this scan
  std::map<std::string, Run> running_;
  std::map<std::string, absl::Duration> refused_;  // until when
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_OFFLINE_RUNNER_H_
