// What all rooms but `parent` have in common: how such a process begins and
// ends.
//
//   int main() { return RunRoom(Room::kReceive, MakeReceive); }
//
// RunRoom() makes the loop and the door to `parent` (descriptor 3), waits for
// Start, parses the configuration, opens the log, changes user and root, sets
// no_new_privs and "not dumpable", makes the room and says Ready.  When the
// parent goes, the process ends.
#ifndef HOLDFAST_SERVER_ROOM_ROOM_H_
#define HOLDFAST_SERVER_ROOM_ROOM_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/random/bit_gen_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "server/door/door.h"
#include "server/door/parent_messages.h"
#include "server/door/room.h"
#include "server/door/table_messages.h"
#include "server/loop/event_loop.h"

namespace holdfast {

// What a room is given.  Everything outlives the room.
struct RoomContext {
  EventLoop* loop = nullptr;
  Door* parent = nullptr;  // to send to; frames come through OnParentFrame
  const Start* start = nullptr;
  std::shared_ptr<const Config> config;
  // The descriptors that came with Start, in the order said there.
  std::vector<OwnedFd> fds;
  absl::BitGenRef random;
  // Ends the process with `status` after this turn; everything is dropped in
  // order, the log is flushed.
  std::function<void(int status)> exit;
};

// A room, as RunRoom() sees it.  Used on the loop's thread.
class RoomHandler {
 public:
  virtual ~RoomHandler() = default;
  // A door to a peer; its callbacks are the room's to set.  A second door for
  // the same (peer, number) replaces the first.
  virtual void OnDoor(const NewDoor& to, std::unique_ptr<Door> door) = 0;
  // Anything else parent says (SetVerbose is handled before).  False: not
  // understood; the process ends, for then parent and room don't fit.
  virtual bool OnParentFrame(Frame& frame) = 0;
  // The contents of a table were replaced, or (`why` is not OK) could not be.
  virtual void OnTable(const TableFile& /*file*/, const absl::Status& /*why*/) {
  }
  // Finish within `grace`, then call RoomContext::exit(0).
  virtual void OnStop(absl::Duration grace) = 0;
};

using RoomFactory =
    std::function<absl::StatusOr<std::unique_ptr<RoomHandler>>(RoomContext)>;

int RunRoom(Room room, RoomFactory make);

// Becomes `user` (groups, gid, uid; verified) inside `chroot` if that is not
// empty.  The user database is read before the chroot.
absl::Status DropPrivileges(const std::string& user, const std::string& chroot);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_ROOM_ROOM_H_
