// What `receive` wants of `lookup`: where mail for a recipient goes.
#ifndef HOLDFAST_SERVER_RECEIVE_LOOKUP_CLIENT_H_
#define HOLDFAST_SERVER_RECEIVE_LOOKUP_CLIENT_H_

#include <cstdint>
#include <memory>

#include "server/door/door.h"
#include "server/door/receive_messages.h"
#include "server/receive/open_questions.h"

namespace holdfast {

// Used on the loop's thread.  Outlives its callers.
class LookupClient {
 public:
  using Callback = OpenQuestions<ExpandAnswer>::Callback;

  void SetDoor(std::unique_ptr<Door> door);
  bool connected() const { return door_ != nullptr; }

  // Answered once; "451 Temporary failure" if `lookup` is not there or goes
  // (inside the call, if it is not there).  Questions of one turn leave
  // together.
  void Expand(ExpandRequest request, Callback done);

 private:
  void OnFrame(Frame& frame);
  void Lose();

  std::unique_ptr<Door> door_;
  std::unique_ptr<Door> closed_door_;  // until nobody is in its callbacks
  uint64_t generation_ = 0;            // of door_
  OpenQuestions<ExpandAnswer> open_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RECEIVE_LOOKUP_CLIENT_H_
