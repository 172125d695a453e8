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
  // A batch is running, in one run or more (SplitBatch()); what they tell waits
  // until `queue` has it on disk.
  struct Entry {
    std::vector<std::unique_ptr<BatchRun>> runs;  // null: done
    size_t running = 0;
    uint32_t last_sequence = 0;
    std::map<uint32_t, BatchOutcomes> told;  // by sequence, not yet recorded
    bool forgotten = false;  // its claim failed: queue knows nothing of it
    bool finished() const { return running == 0; }
  };
  using RunKey = std::pair<BatchId, size_t>;  // index into Entry::runs

  void OnQueueFrame(Frame& frame);
  void OnQueueClosed();
  void On(DeliverBatch& batch);
  void On(const BatchClaimed& claimed);
  void On(const OutcomesRecorded& recorded);
  void On(BodyPart& part);
  void StartRun(RunKey key, DeliverBatch batch);
  BatchRun* FindRun(RunKey key);
  void OnDone(RunKey key, BatchOutcomes outcomes);
  void AskForBody(RunKey run, MessageId message, uint32_t first,
                  uint32_t count);
  void ExitIfEmpty();

  RoomContext context_;
  AgentPool pool_;
  std::unique_ptr<Door> queue_;
  std::map<BatchId, Entry> batches_;
  // Which run each BodyRequest is for.
  std::map<uint64_t, RunKey> questions_;
  uint64_t next_question_ = 1;
  bool stopping_ = false;
  EventLoop::Timer grace_;
  EventLoop::Timer exit_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DELIVER_DELIVER_ROOM_H_
