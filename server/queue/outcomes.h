// What a worker says about an envelope, turned into what the store records and
// the log says (reference part 2, sections 1.9, 2.1, 8.1; RFC 3461 where the
// reference departs from it).  Pure.
#ifndef HOLDFAST_SERVER_QUEUE_OUTCOMES_H_
#define HOLDFAST_SERVER_QUEUE_OUTCOMES_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/envelope.h"
#include "server/door/worker_messages.h"
#include "storage/queue_batch.h"

namespace holdfast {

// Longest error line an envelope keeps; longer ones end in "...".
inline constexpr size_t kMaxErrorLine = 2047;
std::string CutErrorLine(absl::string_view text);

// Who hears of a failure.
enum class FailureNotice {
  kReport,        // the sender
  kUnwanted,      // nobody: NOTIFY says so
  kDoubleBounce,  // nobody: it is a report itself
  kNoReturnPath,  // nobody: null sender
};
FailureNotice NoticeOfFailure(const Envelope& envelope);
// The warning that goes with it, or nothing.
absl::string_view WarningOf(FailureNotice notice);

// What is the same for all outcomes of one answer.
struct AttemptSide {
  absl::string_view source, relay, tls;  // BatchOutcomes'
};
// The attempt as the envelope keeps it, or none was made.
std::optional<Attempt> AttemptOf(const Envelope& envelope,
                                 const WorkerOutcome& outcome,
                                 const AttemptSide& side);

// What became of one envelope.
struct Verdict {
  EnvelopeOutcome record;
  // "Ok", "TempFail", "PermFail"; empty: no line (it was not tried).
  absl::string_view result;
  std::string stat;           // raw
  absl::string_view warning;  // a log line to go with it, or empty
};

// `outcome` is the worker's.  `remove`: an operator removed the envelope while
// it was in flight; a temporary failure then ends it.
Verdict Judge(const Envelope& envelope, const WorkerOutcome& outcome,
              bool remove, absl::Time now);

// `queue doubt hold`: what is in doubt waits for an operator instead of being
// tried again.  Whether this was in doubt.
bool HoldDoubt(Verdict* verdict);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_OUTCOMES_H_
