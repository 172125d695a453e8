// The record of operators' acts: `acts.log` in the queue's folder, a line for
// the beginning and one for the end of each, appended and synced, so that it
// outlives crashes; an act without an end was interrupted.  At kMaxActLogBytes
// it becomes `acts.log.1`, of which there is one.  `smtpctl queue log` shows
// both.
#ifndef HOLDFAST_SERVER_QUEUE_ACT_LOG_H_
#define HOLDFAST_SERVER_QUEUE_ACT_LOG_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/json_line.h"
#include "server/queue/act_tokens.h"
#include "server/queue/queue_services.h"

namespace holdfast {

inline constexpr uint64_t kMaxActLogBytes = 16 << 20;

// Lines, without their end.  `number` joins the two lines of an act.
//
//   2026-01-31T12:00:00.000Z begin 5f3a9c01 uid=0 pid=71 found=10000
//       act="remove" filter="domain = example.org"
//   2026-01-31T12:00:02.000Z end 5f3a9c01 done=9990 waiting=10 gone=0 ...
//       result=complete
//
// (each in one line; `result` is "complete" or why not).  Between quotation
// marks those of the text and backslashes have a backslash before them.
std::string ActBeginLine(absl::Time now, const std::string& number,
                         const ActPeer& peer, const PlannedAct& plan);
std::string ActEndLine(absl::Time now, const std::string& number,
                       const ActCounts& counts, absl::string_view result);

// The same for `queue export --move`.
std::string MoveBeginLine(absl::Time now, const std::string& number,
                          const ActPeer& peer, absl::string_view filter);
std::string MoveEndLine(absl::Time now, const std::string& number,
                        uint64_t moved, absl::string_view result);

// One of those lines as an object: "time", "event", "number" and the fields.
Json ActLineJson(absl::string_view line);

// Where it is.
std::string ActLogPath(const Config& config);

// Appends the line to the file, which is made 0600 if missing, and syncs it.
// Blocks: not for a loop's thread.
absl::Status AppendActLine(const std::string& path, const std::string& line,
                           uint64_t max_bytes = kMaxActLogBytes);
// The same on the store's reader thread, in order; what goes wrong is logged.
void AppendToActLog(QueueServices* services, std::string line);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_ACT_LOG_H_
