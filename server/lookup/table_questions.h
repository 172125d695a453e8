// What other rooms may ask about tables through us (TableQuestion).
#ifndef HOLDFAST_SERVER_LOOKUP_TABLE_QUESTIONS_H_
#define HOLDFAST_SERVER_LOOKUP_TABLE_QUESTIONS_H_

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "config/table_answers.h"
#include "server/door/room.h"
#include "server/door/table_question.h"

namespace holdfast {

// Of questions that were refused, in the log in a minute; of others only how
// many they were.
inline constexpr int kMaxRefusalLines = 20;

// Of all others it is no message at all.
bool MayAskTables(Room asker);

// kPermissionDenied: the configuration gives `asker` no reason to ask that.
// queue: relay hosts of `host` and `domain`; relay: addresses of `src`, names
// of `helo-src`; parent: users of userbases; all of tables of programs.
// filters: checks with tables that builtin filters compare with, in files or
// of programs, by the service that compares, so that it may learn who is in a
// table of passwords if `match auth` has it.  Passwords nobody.
// kInvalidArgument: the key is too long.
absl::StatusOr<TableQuery> QueryOf(Room asker, const Config& config,
                                   const TableQuestion& question);

// Of a table in a file, which QueryOf() has let through.
TableResult CheckHere(const Config& config, const TableQuery& query);

TableAnswer AnswerTo(Room asker, const TableQuestion& question,
                     TableResult result);

// Used on one thread.
class RefusalLog {
 public:
  // `now`: EventLoop::Elapsed().
  void Warn(absl::Duration now, Room asker, const TableQuestion& question,
            const absl::Status& why);

 private:
  int lines_ = 0;  // of the minute that ends at until_
  absl::Duration until_ = absl::ZeroDuration();
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOKUP_TABLE_QUESTIONS_H_
