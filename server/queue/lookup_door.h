// The door to `lookup`: where does mail for a recipient go, and why?  One
// thread: the loop's.
#ifndef HOLDFAST_SERVER_QUEUE_LOOKUP_DOOR_H_
#define HOLDFAST_SERVER_QUEUE_LOOKUP_DOOR_H_

#include <cstdint>
#include <map>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "server/door/door.h"
#include "server/door/lookup_messages.h"
#include "server/door/receive_messages.h"
#include "server/door/table_question.h"
#include "server/loop/event_loop.h"
#include "server/queue/command_seal.h"
#include "server/queue/store_calls.h"

namespace holdfast {

class LookupDoor {
 public:
  using Done = absl::AnyInvocable<void(ExpandAnswer)>;
  using ExplainDone = absl::AnyInvocable<void(ExplainAnswer)>;
  using UpdateDone = absl::AnyInvocable<void(TableUpdated)>;
  using TableDone = absl::AnyInvocable<void(TableAnswer)>;

  // `seals` learns the keys of each lookup.
  LookupDoor(EventLoop* loop, CommandSeals* seals)
      : loop_(loop), seals_(seals) {}

  void SetDoor(std::unique_ptr<Door> door);
  // `done` is called in a later turn; with lookup away: "451 ...".
  void Expand(ExpandRequest request, Done done);
  // The same; with lookup away an answer that is not ok.
  void Explain(ExplainRequest request, ExplainDone done);
  void UpdateTable(const std::string& name, UpdateDone done);
  // The same, of the program of a table; with lookup away an error, as when
  // the program does not answer.
  void AskTable(TableQuestion question, TableDone done);

 private:
  void OnClosed();
  void OnFrame(Frame& frame);

  EventLoop* loop_;
  CommandSeals* seals_;
  std::unique_ptr<Door> door_;
  uint64_t last_question_ = 0;
  std::map<uint64_t, Done> waiting_;
  std::map<uint64_t, ExplainDone> explaining_;
  std::map<uint64_t, UpdateDone> updating_;
  std::map<uint64_t, TableDone> asking_;
  CallGuard guard_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_LOOKUP_DOOR_H_
