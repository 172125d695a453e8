// What parent keeps of tables that are in files: their bytes, as they were read
// last and could be understood; and how they are read again.
#ifndef HOLDFAST_SERVER_PARENT_TABLE_KEEPER_H_
#define HOLDFAST_SERVER_PARENT_TABLE_KEEPER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "server/door/door.h"
#include "server/door/room.h"
#include "server/loop/event_loop.h"
#include "server/parent/config_loader.h"
#include "server/tables/background_work.h"

namespace holdfast {

// How often the files of db tables are looked at: what makemap(8) has written
// is used without being told, as with the reference.
inline constexpr absl::Duration kDbPollInterval = absl::Seconds(1);
// Files that wait to be read again.
inline constexpr size_t kMaxTableUpdates = 64;

// Used on the loop's thread; files are read and checked on another.
class TableKeeper {
 public:
  // Calls `tell` with the door of each room of this kind.
  using ForEachRoom =
      absl::AnyInvocable<void(Room, absl::FunctionRef<void(Door*)> tell)>;
  // Why nothing was replaced; empty: all rooms were sent the new contents.
  using Done = absl::AnyInvocable<void(const std::string& error)>;

  TableKeeper(EventLoop* loop, std::shared_ptr<const Config> config,
              std::map<std::string, SealedFile> files, ForEachRoom rooms,
              TableSealer seal = SealFile);

  // What the room may see, to its door.
  void SendAll(Room room, Door* door) const;
  // Reads the file again.  `question` travels to lookup with the contents.
  // `done` is called in a later turn.
  void Update(const std::string& name, uint64_t question, Done done);
  // From now on, when the file of a db table has changed.
  void WatchDbFiles();

 private:
  void Refuse(std::string error, Done done);
  void Adopt(const std::string& name, uint64_t question, SealedFile file,
             std::shared_ptr<const TableContents> contents);
  void Send(Room room, Door* door, const std::string& name,
            uint64_t question) const;
  void LookAtDbFiles();

  EventLoop* const loop_;
  const std::shared_ptr<const Config> config_;
  std::map<std::string, SealedFile> files_;
  ForEachRoom rooms_;
  const TableSealer seal_;
  const std::set<std::string> userbases_;
  // Of db files: what was read last, well or not.
  std::map<std::string, FileStamp> seen_;
  EventLoop::Timer poll_;
  BackgroundWork background_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_TABLE_KEEPER_H_
