// The room of filters: the processes of others that mail passes, builtin
// filters, and milters (DESIGN: smtpd-filters(7)).
//
// Started only if there are filters.  `receive`, `relay` and `queue` tell of
// their sessions and ask (server/door/filter_messages.h); parent starts and
// kills programs, and connects to milters; lookup answers for the tables of
// programs.  Whatever a filter does, the room goes on.
#ifndef HOLDFAST_SERVER_FILTERS_FILTERS_ROOM_H_
#define HOLDFAST_SERVER_FILTERS_FILTERS_ROOM_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "server/door/filter_messages.h"
#include "server/door/program_messages.h"
#include "server/filters/builtin_link.h"
#include "server/filters/chain.h"
#include "server/filters/chain_session.h"
#include "server/filters/filter_program.h"
#include "server/filters/milter_filter.h"
#include "server/filters/table_asker.h"
#include "server/room/room.h"
#include "server/tables/background_work.h"

namespace holdfast {

// Of all doors together; beyond these a session is refused when it asks.
inline constexpr size_t kMaxFilteredSessions = 100000;
// A peer that does not take its answers is not heard above this.
inline constexpr size_t kMaxPeerBacklog = 16 << 20;

class FiltersRoom : public RoomHandler {
 public:
  static absl::StatusOr<std::unique_ptr<RoomHandler>> Make(RoomContext context);
  ~FiltersRoom() override;

  void OnDoor(const NewDoor& to, std::unique_ptr<Door> door) override;
  bool OnParentFrame(Frame& frame) override;
  void OnStop(absl::Duration grace) override;

 private:
  using PeerKey = std::pair<Room, uint32_t>;
  struct Peer {
    std::unique_ptr<Door> door;
    // Filters that its sessions may pass, and what it was told of them.
    std::map<std::string, FilterWants> told;
    std::set<std::string> filters;
    bool full = false;  // it doesn't take its answers
    bool gone = false;  // and about to be dropped
  };
  struct Session {
    const Peer* peer = nullptr;
    std::unique_ptr<ChainSession> chain;
  };

  explicit FiltersRoom(RoomContext context);

  void MakeLinks();
  std::unique_ptr<FilterLink> MakeLink(const Filter& filter);
  FilterProgram* ProgramOf(const std::string& processor);
  void MakeChains();
  std::set<std::string> FiltersOf(Room room) const;

  void TellWants();
  void TellWants(Peer* peer);
  void OnFrame(const PeerKey& key, Peer* peer, Frame& frame);
  void PauseIfFull(Peer* peer);
  void OnBehind(const std::string& program, bool behind);
  void UpdateReading(Peer* peer);
  void DropPeer(const PeerKey& key, const Peer* peer);
  ChainSession* Find(const Peer* peer, SessionId session);

  // False: the peer doesn't keep to the protocol.
  bool On(Peer* peer, FilterSession& session);
  bool On(Peer* peer, FilterSessionEnded& ended);
  bool On(Peer* peer, FilterReport& report);
  bool On(Peer* peer, FilterQuestion& question);
  bool On(Peer* peer, FilterText& text);
  bool On(Peer* peer, FilterTextTaken& taken);
  bool On(Peer* peer, FilterTextDropped& dropped);

  void On(ProgramStarted& started, Frame& frame);
  void On(ProgramEnded& ended, Frame& frame);
  void On(MilterConnected& connected, Frame& frame);
  void Connect(const std::string& filter,
               absl::AnyInvocable<void(absl::StatusOr<OwnedFd>)> done);
  void ExitIfDone();

  RoomContext context_;
  BackgroundWork background_;
  ProgramSurroundings surroundings_;
  MilterServices milters_;
  TableAsker tables_;
  AskTable ask_table_;
  std::map<std::string, std::unique_ptr<FilterProgram>> programs_;
  std::map<std::string, std::unique_ptr<FilterLink>> links_;  // by filter
  std::map<std::string, FilterChain> chains_;  // those that sessions pass
  std::map<PeerKey, std::unique_ptr<Peer>> peers_;
  absl::flat_hash_map<SessionId, Session> sessions_;
  std::set<std::string> behind_;  // programs that the peers wait for
  uint64_t last_connect_ = 0;
  std::map<uint64_t, absl::AnyInvocable<void(absl::StatusOr<OwnedFd>)>>
      connects_;
  bool wants_changed_ = false;
  bool stopping_ = false;
  EventLoop::Timer stop_timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_FILTERS_ROOM_H_
