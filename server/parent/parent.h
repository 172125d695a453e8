// `parent`: what smtpd itself is once it has started.  It owns what needs
// privilege and gives the rooms their parts of it (docs/ARCHITECTURE.md).
#ifndef HOLDFAST_SERVER_PARENT_PARENT_H_
#define HOLDFAST_SERVER_PARENT_PARENT_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/parent/agent_starter.h"
#include "server/parent/auth_pool.h"
#include "server/parent/config_loader.h"
#include "server/parent/listener_sockets.h"
#include "server/parent/lmtp_connector.h"
#include "server/parent/milter_connector.h"
#include "server/parent/offline_runner.h"
#include "server/parent/processes.h"
#include "server/parent/program_starter.h"
#include "server/parent/resolver_files.h"
#include "server/parent/supervisor.h"
#include "server/parent/table_keeper.h"
#include "server/parent/tls_files.h"
#include "server/parent/userbase_asker.h"
#include "server/receive/client_table.h"
#include "storage/queue_store.h"

namespace holdfast {

// Commands of aliases run as _smtpd.  A process can signal those of its own
// user, so the rooms on the network have a user of their own; where nobody has
// made it, they are _smtpd, too.
inline constexpr char kNetworkUser[] = "_smtpn";
inline constexpr char kAliasCommandUser[] = "_smtpd";
inline constexpr char kQueueUser[] = "_smtpq";

// All that was found out and opened before.
struct ParentSetup {
  std::string folder;   // of the executables
  std::string smtpctl;  // empty: there is none
  std::string helpers;  // folder of mail.maildir and mail.lmtp; empty: none
  std::vector<std::string> environment;  // of the rooms
  // Of filters and processes of tables, and where they are looked for.
  std::vector<std::string> program_environment;
  std::vector<std::string> program_folders;
  bool privileged = false;
  std::string network_user = kNetworkUser;  // of receive, relay, deliver
  std::set<uint32_t> own_uids;  // of the users that rooms and programs run as

  ParseOptions parse;
  LoadedConfig loaded;
  TlsFiles tls;
  StoreKeys queue_keys;
  SpoolPaths paths;
  bool syslog = false;
  bool verbose = false;
  std::vector<std::string> paused;

  int control = -1;  // listening; another's to close
  int enqueue = -1;
  std::vector<ListenAddress> addresses;
  // For each receive room, one for each address.
  std::vector<std::vector<OwnedFd>> listening;
  uint32_t relays = 1;
  OwnedFd client_memory;  // ClientTable's; may be empty
};

// Used on the loop's thread.
class Parent : public SupervisorHost {
 public:
  Parent(EventLoop* loop, Processes* processes, ParentSetup setup);

  void Begin();
  // In good order; then the loop is stopped.
  void Stop() {
    programs_.OnStopping();
    supervisor_.Stop();
  }
  bool gave_up() const { return supervisor_.gave_up(); }

  // SupervisorHost.
  Start MakeStart(Room room, uint32_t number,
                  std::vector<OwnedFd>* fds) override;
  void BeforeStart(Room room, Door* door) override;
  void OnRoomReady(Room room, WorkerId worker, Door* door) override;
  bool OnRoomFrame(Room room, WorkerId worker, Door* door,
                   Frame& frame) override;
  bool OnRoomDied(Room room, WorkerId worker) override;
  void OnVerbose(bool verbose) override;
  void OnStopped() override;

 private:
  void GiveSockets(Room room, uint32_t number, Start* start,
                   std::vector<OwnedFd>* fds);
  void MapClients();
  void UpdateFor(WorkerId worker, Door* door, const UpdateTable& update);
  void RefuseForward(Door* door, const ForwardQuestion& question);
  // Asks `pool`, and tells the lookup room that asked if it is still there.
  template <class Question>
  void Ask(AuthPool* pool, WorkerId worker, Door* door, Question question);

  EventLoop* const loop_;
  ParentSetup setup_;
  std::unique_ptr<ClientTable> clients_;  // null: clients are not counted
  Supervisor supervisor_;
  TableKeeper tables_;
  // One for each kind of question: none waits for another's slowness.
  AuthPool users_;
  AuthPool passwords_;
  AuthPool forwards_;
  UserbaseAsker userbase_asker_;
  AgentStarter agents_;
  LmtpConnector lmtp_;
  MilterConnector milters_;
  ProgramStarter programs_;
  OfflineRunner offline_;
  BackgroundWork background_;
  ResolverFileKeeper resolver_files_;
  // Doors of lookup rooms that questions are open of.
  std::map<WorkerId, Door*> askers_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_PARENT_H_
