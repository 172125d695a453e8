// The words of `smtpctl explain RCPT [from SENDER] [via LISTENER] [src ADDRESS]
// [rdns NAME] [helo NAME] [auth USER] [tls]`.  Pure.
#ifndef HOLDFAST_SERVER_QUEUE_EXPLAIN_WORDS_H_
#define HOLDFAST_SERVER_QUEUE_EXPLAIN_WORDS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/door/lookup_messages.h"

namespace holdfast {

// `words` are those behind "explain".  Addresses may stand in <>; the null
// sender, which is meant without `from`, is "<>".  kInvalidArgument, for
// people: a word is unknown, has no value or comes twice.
absl::StatusOr<ExplainRequest> ParseExplainWords(
    const std::vector<std::string>& words);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_EXPLAIN_WORDS_H_
