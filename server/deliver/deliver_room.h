// The `deliver` room: takes batches of local mail from `queue` and sees them
// into mailboxes through agents (docs/ARCHITECTURE.md).
#ifndef HOLDFAST_SERVER_DELIVER_DELIVER_ROOM_H_
#define HOLDFAST_SERVER_DELIVER_DELIVER_ROOM_H_

#include <cstdint>
#include <map>
#include <memory>

#include "server/deliver/agent_pool.h"
#include "server/deliver/batch_run.h"
#include "server/door/worker_messages.h"
#include "server/room/room.h"

namespace holdfast {

class DeliverRoom : public RoomHandler {
 public:
  explicit DeliverRoom(RoomContext context);
  ~DeliverRoom() override;

  void OnDoor(const NewDoor& to, std::unique_ptr<Door> door) override;
  bool OnParentFrame(Frame& frame) override;
  void OnStop(absl::Duration grace) override;

 private:
  // A batch is running, then its outcomes wait until `queue` has them on disk.
  struct Entry {
    std::unique_ptr<BatchRun> run;  // null: done
    BatchOutcomes outcomes;
    bool forgotten = false;  // its claim failed: queue knows nothing of it
  };

  void OnQueueFrame(Frame& frame);
  void OnQueueClosed();
  void On(DeliverBatch& batch);
  void On(const BatchClaimed& claimed);
  void On(const OutcomesRecorded& recorded);
  void On(BodyPart& part);
  void OnDone(BatchId batch, BatchOutcomes outcomes);
  void AskForBody(BatchId batch, MessageId message, uint32_t first,
                  uint32_t count);
  void ExitIfEmpty();

  RoomContext context_;
  AgentPool pool_;
  std::unique_ptr<Door> queue_;
  std::map<BatchId, Entry> batches_;
  // Which batch each BodyRequest is for.
  std::map<uint64_t, BatchId> questions_;
  uint64_t next_question_ = 1;
  bool stopping_ = false;
  EventLoop::Timer grace_;
  EventLoop::Timer exit_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DELIVER_DELIVER_ROOM_H_
