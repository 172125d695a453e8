// Hands a message to the daemon by SMTP over its enqueue socket (reference part
// 2, section 6.2).
#ifndef HOLDFAST_CTL_SUBMISSION_DIALOGUE_H_
#define HOLDFAST_CTL_SUBMISSION_DIALOGUE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

namespace holdfast {

struct Submission {
  std::string sender;  // "user@domain", or empty
  std::vector<std::string> recipients;
  std::string notify, ret, envid;  // as given, or empty
  std::string head;                // headers and the empty line
  int body_fd = -1;                // the rest, LF line ends; not owned
};

struct SubmissionResult {
  enum Kind {
    kAccepted,
    kRefused,       // `line`: the reply that ended it
    kNotAllowed,    // the daemon takes no submissions now
    kNotConnected,  // it went away before it took the message: nothing was sent
    kUnknown,       // it went away, or `line` went wrong, before its answer
  } kind = kUnknown;
  std::string line;
};

// Speaks on the connected socket `fd` until it is settled; blocks.  `verbose`
// gets each line of the dialogue.
SubmissionResult Submit(int fd, const Submission& submission,
                        absl::FunctionRef<void(absl::string_view)> verbose);

// Copies head and body: `write` gets pieces.  False: the body can't be read.
bool ForEachPiece(const Submission& submission,
                  absl::FunctionRef<bool(absl::string_view)> write);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_SUBMISSION_DIALOGUE_H_
