// What `receive` wants of `queue`: message ids, bodies kept, messages accepted.
#ifndef HOLDFAST_SERVER_RECEIVE_QUEUE_CLIENT_H_
#define HOLDFAST_SERVER_RECEIVE_QUEUE_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "server/door/door.h"
#include "server/door/receive_messages.h"
#include "server/receive/open_questions.h"

namespace holdfast {

// Ids are leased this many at a time.
inline constexpr uint32_t kLeasedIds = 1024;
// Above this, what `queue` has not taken yet keeps new messages from starting.
inline constexpr size_t kMaxQueueBacklog = 8 << 20;

// Used on the loop's thread.  Outlives its callers.
class QueueClient {
 public:
  // `on_state`: paused() or has_room() may have changed.  `on_gone`: the door
  // has closed; every message on its way is lost.
  QueueClient(std::function<void()> on_state, std::function<void()> on_gone);

  // A door, the first or after a restart of `queue`.
  void SetDoor(std::unique_ptr<Door> door);

  bool connected() const { return door_ != nullptr; }
  bool paused() const { return state_.paused; }
  bool has_room() const { return state_.room; }
  void SetPaused(bool paused) { state_.paused = paused; }

  // The id of a new message, as soon as there is one and `queue` keeps up;
  // nullopt if `queue` is gone.  `ready` runs inside the call if it can.
  using IdReady = absl::AnyInvocable<void(std::optional<MessageId>)>;
  void RequestId(IdReady ready);

  // Each is answered once, with kFailed if `queue` goes.  The number of the
  // question is filled in here.
  using ResultCallback = absl::AnyInvocable<void(AcceptResult)>;
  void Accept(AcceptRequest request, ResultCallback done);
  void StoreChunk(ChunkRequest request, ResultCallback done);
  void Drop(MessageId message);
  void Tell(const SessionCounts& counts);

  // Changes when the door does: ids and chunks of one door mean nothing to the
  // next.
  uint64_t generation() const { return generation_; }

 private:
  void OnFrame(Frame& frame);
  void On(const Accepted& accepted);
  void On(const ChunkStored& stored);
  void On(const Lease& lease);
  void On(const SmtpState& state);
  void Lose();
  void RenewLease();
  bool MayStart() const;
  void ServeWaiting();

  std::function<void()> on_state_;
  std::function<void()> on_gone_;
  std::unique_ptr<Door> door_;
  // Doors that have closed, until nobody is inside their callbacks.
  std::unique_ptr<Door> closed_door_;
  uint64_t generation_ = 0;
  SmtpState state_;
  OpenQuestions<Accepted> accepts_;
  OpenQuestions<ChunkStored> chunks_;
  // Leased ids, in order; what is asked for.
  std::deque<Lease> leases_;
  uint32_t leased_ = 0;
  bool lease_requested_ = false;
  bool waits_for_backlog_ = false;
  std::deque<IdReady> waiting_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RECEIVE_QUEUE_CLIENT_H_
