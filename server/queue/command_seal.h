// Which commands aliases and .forward files name is known to `lookup` alone;
// they reach `queue` by way of `receive`, which talks with strangers.  So that
// whoever takes `receive` over can't have commands run, `lookup` seals each
// with a key that only it and `queue` have, and `queue` accepts no other.
#ifndef HOLDFAST_SERVER_QUEUE_COMMAND_SEAL_H_
#define HOLDFAST_SERVER_QUEUE_COMMAND_SEAL_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "protocol/envelope.h"
#include "server/door/receive_messages.h"

namespace holdfast {

inline constexpr size_t kSealKeyBytes = 32;
// The seal stands before the command, in URL-safe base64.
inline constexpr size_t kSealBytes = 22;

// `place.mda_exec` with its seal, which binds action, user, extension and
// destination too.
std::string SealCommand(const std::string& key, const ExpandedRecipient& place);

// Used on one thread.
class CommandSeals {
 public:
  // Of a new `lookup`.  The key before it counts too: its answers may be on
  // their way.
  void AddKey(std::string key);
  // Takes the seal off `envelope->mda_exec`, if there is a command.
  // kPermissionDenied: it is not one that `lookup` has given.
  absl::Status Open(Envelope* envelope) const;

 private:
  std::vector<std::string> keys_;  // newest first, two at most
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_COMMAND_SEAL_H_
