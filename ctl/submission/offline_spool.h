// Where sendmail leaves mail while the daemon is down (reference part 2,
// section 6.3): one file a message, the first line a mark
// (protocol/offline_file.h) and its arguments, joined by '|', then the message.
// The parent picks them up and runs `sendmail -S` with them as their owner.
#ifndef HOLDFAST_CTL_SUBMISSION_OFFLINE_SPOOL_H_
#define HOLDFAST_CTL_SUBMISSION_OFFLINE_SPOOL_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ctl/submission/dialogue.h"

namespace holdfast {

// The first line: mark, `arguments` and, in angle brackets, `blind` (recipients
// whose header was dropped; they must not be lost).  kInvalidArgument "<arg>
// contains illegal character" if one holds '|' or a line end.
absl::StatusOr<std::string> OfflineLine(
    const std::vector<std::string>& arguments,
    const std::vector<std::string>& blind);

// Writes `line` and the message into a new file in `folder`, named
// "<epoch>.XXXXXXXXXX", mode 0600, synced.  It appears whole or not at all.
absl::Status StoreOffline(const std::string& folder, const std::string& line,
                          const Submission& submission, absl::Time now);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_SUBMISSION_OFFLINE_SPOOL_H_
