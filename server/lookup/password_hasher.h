// Checks passwords against hashes on threads of its own, since a good hash
// takes a tenth of a second and the loop must not wait for it.
#ifndef HOLDFAST_SERVER_LOOKUP_PASSWORD_HASHER_H_
#define HOLDFAST_SERVER_LOOKUP_PASSWORD_HASHER_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "protocol/secret.h"
#include "server/loop/event_loop.h"

namespace holdfast {

// Passwords that wait for a thread; further ones are refused.
inline constexpr size_t kMaxWaitingPasswords = 128;

// Used on the loop's thread.
class PasswordHasher {
 public:
  enum class Result { kFits, kDoesNotFit, kTooMany };
  using Done = absl::AnyInvocable<void(Result)>;

  virtual ~PasswordHasher() = default;
  // `stored` is a hash of crypt(3) or a SCRAM verifier.  Calls `done` once, in
  // a later turn; never after this object is gone.
  virtual void Check(Secret password, std::string stored, Done done) = 0;
};

// `threads`: 0 for as many as there are processors.  They end when this object
// is gone and they are done with what they have.
std::unique_ptr<PasswordHasher> MakePasswordHasher(EventLoop* loop,
                                                   size_t threads);

// What such a thread does.  Blocks.
bool PasswordFits(const std::string& password, const std::string& stored);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOKUP_PASSWORD_HASHER_H_
