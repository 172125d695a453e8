#include "server/parent/parent.h"

#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "config/filter_use.h"
#include "server/log/log.h"
#include "server/parent/exact_message.h"
#include "server/parent/spool_setup.h"
#include "server/parent/system_facts.h"
#include "server/parent/userbase_check.h"

namespace holdfast {
namespace {

Supervisor::Options SupervisorOptions(const ParentSetup& setup,
                                      absl::Time now) {
  Supervisor::Options options;
  options.folder = setup.folder;
  options.environment = setup.environment;
  options.receivers = static_cast<uint32_t>(setup.listening.size());
  options.relays = setup.relays;
  options.filters = !FiltersInUse(*setup.loaded.config).empty();
  options.first_worker =
      WorkerId(static_cast<uint64_t>(absl::ToUnixMicros(now)));
  return options;
}

AgentStarter::Options AgentOptions(const ParentSetup& setup,
                                   UserbaseAsker* tables) {
  AgentStarter::Options options;
  options.program = absl::StrCat(setup.folder, "/smtpd-agent");
  options.privileged = setup.privileged;
  options.config = setup.loaded.config;
  options.helpers = setup.helpers;
  options.own_uids = setup.own_uids;
  options.ask_program = [tables](const TableQuery& query,
                                 UserbaseAsker::Done done) {
    tables->Ask(query, std::move(done));
  };
  return options;
}

ProgramStarter::Options ProgramOptions(const ParentSetup& setup) {
  ProgramStarter::Options options;
  options.agent = absl::StrCat(setup.folder, "/smtpd-agent");
  options.environment = setup.program_environment;
  return options;
}

OfflineRunner::Options OfflineOptions(const ParentSetup& setup) {
  OfflineRunner::Options options;
  options.folder = setup.paths.offline;
  options.max_message_size = setup.loaded.config->max_message_size;
  options.agent = absl::StrCat(setup.folder, "/smtpd-agent");
  options.smtpctl = setup.smtpctl;
  options.spool = setup.loaded.config->spool;
  options.privileged = setup.privileged;
  options.own_uid = geteuid();
  return options;
}

bool IsNetworkRoom(Room room) {
  return room == Room::kReceive || room == Room::kRelay ||
         room == Room::kDeliver;
}

}  // namespace

Parent::Parent(EventLoop* loop, Processes* processes, ParentSetup setup)
    : loop_(loop),
      setup_(std::move(setup)),
      supervisor_(loop, processes, this,
                  SupervisorOptions(setup_, loop->Now())),
      tables_(loop, setup_.loaded.config, std::move(setup_.loaded.tables),
              [this](Room room, absl::FunctionRef<void(Door*)> tell) {
                supervisor_.ForEach(room, tell);
              }),
      users_(loop, processes, absl::StrCat(setup_.folder, "/smtpd-auth")),
      passwords_(loop, processes, absl::StrCat(setup_.folder, "/smtpd-auth")),
      forwards_(loop, processes, absl::StrCat(setup_.folder, "/smtpd-auth")),
      userbase_asker_(loop),
      agents_(loop, processes, AgentOptions(setup_, &userbase_asker_),
              [this](WorkerId worker) { supervisor_.OnLastEnded(worker); }),
      lmtp_(setup_.loaded.config),
      milters_(loop, setup_.loaded.config),
      programs_(loop, processes, ProgramOptions(setup_),
                ProgramsOf(*setup_.loaded.config, setup_.privileged,
                           setup_.program_folders)),
      offline_(loop, processes, OfflineOptions(setup_)),
      background_(loop),
      resolver_files_(loop, &background_, ReadWholeFile,
                      [this](const ResolverFiles& files) {
                        supervisor_.ForEach(Room::kRelay, [&](Door* door) {
                          door->Send(files);
                        });
                      }) {
  MapClients();
}

void Parent::MapClients() {
  if (!setup_.client_memory) return;
  // Parent counts nothing itself; any column will do.
  absl::StatusOr<std::unique_ptr<ClientTable>> mapped =
      ClientTable::Map(setup_.client_memory.get(), 0);
  if (mapped.ok()) {
    clients_ = *std::move(mapped);
  } else {
    LogWarn("warn: clients are not counted: %s", mapped.status().message());
  }
}

void Parent::Begin() {
  supervisor_.Begin();
  tables_.WatchDbFiles();
  offline_.Begin();
  resolver_files_.Begin();
}

Start Parent::MakeStart(Room room, uint32_t number, std::vector<OwnedFd>* fds) {
  Start start;
  start.config_path = setup_.parse.path;
  start.files = FilesFor(room, setup_.parse.path, setup_.loaded);
  start.tls_files = TlsFilesFor(room, setup_.tls);
  if (room == Room::kQueue) {
    start.queue_key = setup_.queue_keys.current;
    start.queue_previous_key = setup_.queue_keys.previous;
  }
  if (room == Room::kLookup || room == Room::kQueue)
    start.definitions = setup_.parse.definitions;
  start.server_name = setup_.parse.server_name;
  start.local_addresses = setup_.parse.local_addresses;
  start.syslog = setup_.syslog;
  start.verbose = setup_.verbose;
  start.privileged = setup_.privileged;
  start.paused = setup_.paused;
  if (setup_.privileged) {
    start.user = IsNetworkRoom(room) ? setup_.network_user : kQueueUser;
    if (IsNetworkRoom(room)) start.chroot = EmptyFolder(setup_.paths);
  }
  if (room == Room::kRelay) {
    const ResolverFiles& files = resolver_files_.Read();
    start.resolv_conf = files.resolv_conf;
    start.hosts = files.hosts;
  }
  GiveSockets(room, number, &start, fds);
  return start;
}

// Duplicates: parent keeps all of them, so that nothing is refused while a room
// starts again.
void Parent::GiveSockets(Room room, uint32_t number, Start* start,
                         std::vector<OwnedFd>* fds) {
  auto give = [fds](int fd) {
    OwnedFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!copy) return false;
    fds->push_back(std::move(copy));
    return true;
  };
  bool all = true;
  if (room == Room::kQueue) {
    all = start->has_control = give(setup_.control);
  } else if (room == Room::kReceive) {
    all = start->has_enqueue = give(setup_.enqueue);
    const std::vector<OwnedFd>& listening = setup_.listening[number];
    for (size_t i = 0; i < listening.size(); ++i) {
      if (!give(listening[i].get())) {
        all = false;
        continue;
      }
      ++start->listening;
      Start::Bound bound;
      bound.listener = setup_.addresses[i].listener;
      bound.address = setup_.addresses[i].text;
      bound.port = setup_.addresses[i].port;
      start->bound.push_back(std::move(bound));
    }
    if (clients_ != nullptr) {
      // What its predecessor counted died with it.
      clients_->Clear(number);
      start->has_clients = give(setup_.client_memory.get());
      all = all && start->has_clients;
    }
  }
  if (!all) LogWarn("warn: %s: no descriptors for its sockets", RoomName(room));
}

void Parent::BeforeStart(Room room, Door* door) { tables_.SendAll(room, door); }

void Parent::OnRoomReady(Room room, WorkerId worker, Door* door) {
  if (room == Room::kLookup) userbase_asker_.OnLookupReady(worker, door);
  programs_.OnRoomReady(room, worker, door);
}

bool Parent::OnRoomFrame(Room room, WorkerId worker, Door* door, Frame& frame) {
  if ((room == Room::kFilters || room == Room::kLookup) &&
      frame.type == ProgramKill::kType) {
    return DispatchExact<ProgramKill>(frame, [&](const ProgramKill& kill) {
      programs_.OnKill(worker, kill);
    });
  }
  if (room == Room::kLookup) {
    const auto ask = [&](AuthPool* pool) {
      return [this, pool, worker, door](auto& question) {
        Ask(pool, worker, door, std::move(question));
      };
    };
    return DispatchExact<UpdateTable>(frame,
                                      [&](const UpdateTable& update) {
                                        UpdateFor(worker, door, update);
                                      }) ||
           DispatchExact<TableAnswer>(frame,
                                      [&](const TableAnswer& answer) {
                                        userbase_asker_.OnAnswer(answer);
                                      }) ||
           DispatchExact<UserQuestion>(frame, ask(&users_)) ||
           DispatchExact<PasswordQuestion>(frame, ask(&passwords_)) ||
           DispatchExact<ForwardQuestion>(
               frame, [&](ForwardQuestion& question) {
                 if (question.has_user &&
                     !IsInUserbase(*setup_.loaded.config, question,
                                   setup_.own_uids))
                   return RefuseForward(door, question);
                 Ask(&forwards_, worker, door, std::move(question));
               });
  }
  if (room == Room::kFilters) {
    return DispatchExact<MilterConnect>(
        frame, [&](const MilterConnect& question) {
          milters_.OnQuestion(worker, door, question);
        });
  }
  if (room == Room::kRelay) {
    return DispatchExact<LmtpConnect>(frame, [&](LmtpConnect& question) {
      lmtp_.OnQuestion(door, question);
    });
  }
  if (room != Room::kDeliver) return false;
  if (frame.type == AgentRequest::kType) {
    return DispatchExact<AgentRequest>(frame, [&](AgentRequest& request) {
      agents_.OnRequest(worker, door, request);
    });
  }
  return DispatchExact<AgentKill>(
      frame, [&](AgentKill& kill) { agents_.OnKill(worker, kill); });
}

// Lookup hears of success by the new contents.
void Parent::UpdateFor(WorkerId worker, Door* door, const UpdateTable& update) {
  askers_[worker] = door;
  tables_.Update(
      update.name, update.question,
      [this, worker, question = update.question](const std::string& error) {
        auto it = askers_.find(worker);
        if (error.empty() || it == askers_.end()) return;
        TableUpdated answer;
        answer.question = question;
        answer.error = error;
        it->second->Send(answer);
      });
}

// It may have known the user a moment ago: the table may have changed.
void Parent::RefuseForward(Door* door, const ForwardQuestion& question) {
  ForwardAnswer answer;
  answer.question = question.question;
  answer.error = absl::StrCat("warn: smtpd: ", question.name,
                              ": not so in any userbase table");
  door->Send(answer);
}

template <class Question>
void Parent::Ask(AuthPool* pool, WorkerId worker, Door* door,
                 Question question) {
  askers_[worker] = door;
  pool->Ask(std::move(question),
            [this, worker](AuthPool::AnswerTo<Question> answer) {
              auto it = askers_.find(worker);
              if (it != askers_.end()) it->second->Send(answer);
            });
}

bool Parent::OnRoomDied(Room room, WorkerId worker) {
  askers_.erase(worker);
  userbase_asker_.OnLookupDied(worker);
  milters_.OnRoomDied(worker);
  programs_.OnRoomDied(room, worker);
  return room == Room::kDeliver && agents_.OnDeliverDied(worker);
}

void Parent::OnVerbose(bool verbose) {
  setup_.verbose = verbose;
  SetLogVerbose(verbose);
}

void Parent::OnStopped() {
  programs_.WhenGone([this] { loop_->Stop(); });
}

}  // namespace holdfast
