// The attempts an envelope keeps, bounded.
#ifndef HOLDFAST_PROTOCOL_ATTEMPTS_H_
#define HOLDFAST_PROTOCOL_ATTEMPTS_H_

#include <cstddef>
#include <vector>

#include "absl/strings/string_view.h"
#include "protocol/attempt.h"

namespace holdfast {

// Longest source, relay and TLS words of one attempt.
inline constexpr size_t kMaxAttemptWord = 320;

// What one attempt counts for against kMaxAttemptsBytes: about what it takes
// up in a record, before packing.
size_t AttemptBytes(const Attempt& attempt);

// Appends `attempt`, its texts cut to their limits (a cut one ends in "..."),
// and drops the oldest ones while all together exceed kMaxAttemptsBytes.  The
// newest always stays.
void AddAttempt(Attempt attempt, std::vector<Attempt>* attempts);

// "Ok", "TempFail", "PermFail", "Loop", "InDoubt".
absl::string_view AttemptResultWord(Attempt::Result result);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_ATTEMPTS_H_
