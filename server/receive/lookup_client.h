// What `receive` wants of `lookup`: where mail for a recipient goes, whether a
// user is who he says, and what the tables of a listener hold.
#ifndef HOLDFAST_SERVER_RECEIVE_LOOKUP_CLIENT_H_
#define HOLDFAST_SERVER_RECEIVE_LOOKUP_CLIENT_H_

#include <cstdint>
#include <memory>

#include "server/door/door.h"
#include "server/door/lookup_messages.h"
#include "server/door/receive_messages.h"
#include "server/receive/open_questions.h"

namespace holdfast {

// Used on the loop's thread.  Outlives its callers.
class LookupClient {
 public:
  using Callback = OpenQuestions<ExpandAnswer>::Callback;
  using AuthCallback = OpenQuestions<AuthAnswer>::Callback;
  using TableCallback = OpenQuestions<ListenerTableAnswer>::Callback;

  void SetDoor(std::unique_ptr<Door> door);
  bool connected() const { return door_ != nullptr; }

  // Answered once; "451 Temporary failure" if `lookup` is not there or goes
  // (inside the call, if it is not there).  Questions of one turn leave
  // together.
  void Expand(ExpandRequest request, Callback done);

  // A step of AUTH; `step.question` is filled in here, and `step.conversation`
  // is NewConversation()'s, the same for all steps.  Answered once; kTemporary
  // if `lookup` is not there or goes.  The answer to a failure may take half a
  // minute: failures are slowed by source.
  void Authenticate(AuthStep step, AuthCallback done);
  uint64_t NewConversation() { return ++last_conversation_; }
  // The exchange is over without a last step (cancelled, disconnected).  A step
  // that is not answered yet still is.
  void ForgetAuth(uint64_t conversation);

  // Answered once; kError if `lookup` is not there or goes.
  // `question.question` is filled in here.
  void AskTable(ListenerTableQuestion question, TableCallback done);

 private:
  void OnFrame(Frame& frame);
  void Lose();

  std::unique_ptr<Door> door_;
  std::unique_ptr<Door> closed_door_;  // until nobody is in its callbacks
  uint64_t generation_ = 0;            // of door_
  uint64_t last_conversation_ = 0;
  OpenQuestions<ExpandAnswer> open_;
  OpenQuestions<AuthAnswer> open_auth_;
  OpenQuestions<ListenerTableAnswer> open_tables_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RECEIVE_LOOKUP_CLIENT_H_
