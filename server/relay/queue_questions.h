// What sessions and searches ask `queue` for: slots and the texts of messages.
#ifndef HOLDFAST_SERVER_RELAY_QUEUE_QUESTIONS_H_
#define HOLDFAST_SERVER_RELAY_QUEUE_QUESTIONS_H_

#include <cstdint>
#include <map>

#include "absl/functional/any_invocable.h"
#include "server/door/door.h"
#include "server/door/worker_messages.h"

namespace holdfast {

// Used on the loop's thread.
class QueueQuestions {
 public:
  using SlotDone = absl::AnyInvocable<void(const SlotAnswer&)>;
  using BodyDone = absl::AnyInvocable<void(BodyPart)>;

  // Null: there is no queue now.  What the old one was asked is forgotten.
  void SetDoor(Door* door);

  // As RelayServices.
  uint64_t AskSlot(SlotRequest request, SlotDone done);
  uint64_t AskBody(BodyRequest request, BodyDone done);
  void CancelSlot(uint64_t question) { slots_.erase(question); }
  void CancelBody(uint64_t question) { bodies_.erase(question); }
  void Report(const SlotReport& report);

  void On(const SlotAnswer& answer);
  void On(BodyPart& part);

 private:
  Door* door_ = nullptr;
  uint64_t last_ = 0;
  std::map<uint64_t, SlotDone> slots_;
  std::map<uint64_t, BodyDone> bodies_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_QUEUE_QUESTIONS_H_
