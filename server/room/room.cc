#include "server/room/room.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config/filter_use.h"
#include "config/parser.h"
#include "server/log/log.h"
#include "server/loop/event_loop.h"
#include "server/sandbox/sandbox.h"
#include "server/tables/background_work.h"
#include "server/tables/sealed_file.h"

namespace holdfast {
namespace {

absl::Status SystemError(absl::string_view what, int error) {
  return absl::InternalError(absl::StrCat(what, ": ", strerror(error)));
}

// Gives the parser the files that came with Start, and no others.
FileReader ReaderOf(const Start& start) {
  return [&start](const std::string& path) -> absl::StatusOr<std::string> {
    for (const Start::File& file : start.files) {
      if (file.path != path) continue;
      if (file.missing) return absl::NotFoundError(file.error);
      return file.contents;
    }
    return absl::NotFoundError(strerror(ENOENT));
  };
}

class RoomProcess {
 public:
  RoomProcess(Room room, RoomFactory make)
      : room_(room),
        make_(std::move(make)),
        loop_(MakeUvEventLoop()),
        parent_(MakeDoor(loop_.get(), OwnedFd(kParentDoorFd))),
        background_(loop_.get()) {
    InstallLogFlush(loop_.get());
    parent_->SetCallbacks([this](Frame& frame) { OnFrame(frame); },
                          [this](absl::Status) { Exit(1); });
  }

  int Run() {
    loop_->Run();
    // In order: the room first, then what it was given.
    handler_.reset();
    parent_.reset();
    FlushLog();
    return status_;
  }

 private:
  void OnFrame(Frame& frame) {
    if (handler_ == nullptr) {
      if (Dispatch<TableFile>(frame, [&](TableFile& file) {
            if (frame.fds.size() != 1)
              return Refuse("a table without its file");
            tables_[file.name] = std::move(frame.fds[0]);
          }))
        return;
      if (!Dispatch<Start>(frame, [&](Start& start) {
            Begin(std::move(start), std::move(frame.fds));
          }))
        Refuse("something else than Start");
      return;
    }
    const bool known = Dispatch<NewDoor, SetVerbose, StopRoom, TableFile>(
        frame, [&](auto& message) { On(message, frame); });
    if (!known && !handler_->OnParentFrame(frame))
      Refuse(absl::StrCat("message ", frame.type));
  }

  void Begin(Start start, std::vector<OwnedFd> fds) {
    start_ = std::move(start);
    OpenLog(start_.syslog ? LogSink::kSyslog : LogSink::kStderr,
            start_.verbose);
    const absl::Status secured = Secure();
    if (!secured.ok())
      Fatal(absl::StrCat(RoomName(room_), ": ", secured.message()));
    ParseOptions options;
    options.path = start_.config_path;
    options.server_name = start_.server_name;
    options.local_addresses = start_.local_addresses;
    options.definitions = start_.definitions;
    ParseResult parsed =
        ParseConfig(options, ReaderOf(start_),
                    [this](const Table& table) { return TableAtStart(table); });
    PrepareTables(parsed.config.get());
    if (parsed.config == nullptr) {
      for (const std::string& line : parsed.messages) LogWarn("%s", line);
      Fatal(absl::StrCat(RoomName(room_), ": no configuration"));
    }
    Confine(*parsed.config);
    config_ = parsed.config;
    RoomContext context{
        .loop = loop_.get(),
        .parent = parent_.get(),
        .start = &start_,
        .config = std::move(parsed.config),
        .fds = std::move(fds),
        .random = random_,
        .exit = [this](int status) { Exit(status); },
    };
    absl::StatusOr<std::unique_ptr<RoomHandler>> made =
        make_(std::move(context));
    if (absl::IsUnauthenticated(made.status())) {
      // The queue is sealed with another key.
      LogLine(LogLevel::kFatal, made.status().message());
      FlushLog();
      _exit(kHopelessStatus);
    }
    if (!made.ok())
      Fatal(absl::StrCat(RoomName(room_), ": ", made.status().message()));
    handler_ = std::move(*made);
    parent_->Send(Ready{});
  }

  absl::Status Secure() {
    if (start_.privileged) {
      const absl::Status dropped = DropPrivileges(start_.user, start_.chroot);
      if (!dropped.ok()) return dropped;
    }
    // Nothing this process starts can gain privileges, and nobody of the same
    // user may look into its memory.
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
      return SystemError("no_new_privs", errno);
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
      return SystemError("not dumpable", errno);
    // Where root has told the kernel to dump even these (fs.suid_dumpable).
    const rlimit none = {0, 0};
    if (start_.privileged && setrlimit(RLIMIT_CORE, &none) < 0)
      return SystemError("no core files", errno);
    if (room_ == Room::kFilters || room_ == Room::kDeliver)
      RaiseDescriptorLimit();
    return absl::OkStatus();
  }

  // Each session of a `receive` has connections to its milters in `filters`,
  // and its message a file; `deliver` has a door to each agent.
  static void RaiseDescriptorLimit() {
    rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }

  // Before the room exists: nothing from outside has been looked at yet.
  void Confine(const Config& config) {
    const absl::StatusOr<std::vector<std::string>> missing =
        EnterSandbox(RulesOf(room_, OwnFolder(PathsBelow(config.spool))));
    if (!missing.ok())
      Fatal(absl::StrCat(RoomName(room_), ": ", missing.status().message()));
    for (const std::string& feature : *missing)
      LogWarn("warn: %s: this kernel has no %s: less protection",
              RoomName(room_), feature);
  }

  // Where it may write.
  std::string OwnFolder(const SpoolPaths& paths) const {
    return room_ == Room::kFilters ? FilterFolder(paths) : paths.store;
  }

  void On(NewDoor& to, Frame& frame) {
    if (frame.fds.size() != 1) return Refuse("a door without a descriptor");
    handler_->OnDoor(to, MakeDoor(loop_.get(), std::move(frame.fds[0])));
  }
  void On(SetVerbose& message, Frame&) { SetLogVerbose(message.verbose); }
  void On(StopRoom& message, Frame&) {
    handler_->OnStop(absl::Seconds(message.seconds));
  }

  // Null: it is not for this room.
  absl::StatusOr<std::shared_ptr<const TableContents>> TableAtStart(
      const Table& table) {
    const auto file = tables_.find(table.name());
    if (file == tables_.end()) return nullptr;
    return ParseSealed(file->second.get(), table);
  }

  // How they are compared with is known only now.
  void PrepareTables(const Config* config) {
    for (const auto& [name, file] : tables_) {
      if (config == nullptr) break;
      const auto found = config->tables.find(name);
      if (found == config->tables.end()) continue;
      found->second->Prepare(*found->second->contents());
    }
    tables_.clear();
  }

  // Parsed on a thread, since it may be large; the old contents answer until
  // then.
  void On(TableFile& message, Frame& frame) {
    const auto found = config_->tables.find(message.name);
    if (found == config_->tables.end() || frame.fds.size() != 1)
      return Refuse("a table's file that has no place");
    background_.Run([this, message, table = found->second,
                     fd = std::move(frame.fds[0])]() mutable {
      auto contents = ParseSealed(fd.get(), *table);
      fd.Reset();
      return [this, message, table, contents = std::move(contents)]() mutable {
        absl::Status status = contents.status();
        if (contents.ok()) table->Replace(*std::move(contents));
        handler_->OnTable(message, status);
      };
    });
  }

  void Refuse(absl::string_view what) {
    Fatal(absl::StrCat(RoomName(room_), ": unexpected from parent: ", what));
  }

  void Exit(int status) {
    status_ = status;
    loop_->Stop();
  }

  Room room_;
  RoomFactory make_;
  absl::BitGen random_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Door> parent_;
  Start start_;
  std::map<std::string, OwnedFd> tables_;  // before Start
  std::shared_ptr<const Config> config_;
  BackgroundWork background_;
  std::unique_ptr<RoomHandler> handler_;
  int status_ = 0;
};

}  // namespace

int RunRoom(Room room, RoomFactory make) {
  // The parent decides when to end; a terminal's Ctrl-C goes to all of us.
  signal(SIGINT, SIG_IGN);
  signal(SIGTERM, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  if (fcntl(kParentDoorFd, F_SETFD, FD_CLOEXEC) < 0) {
    absl::FPrintF(stderr, "smtpd-%s is started by smtpd, not by hand\n",
                  RoomName(room));
    return 1;
  }
  const int flags = fcntl(kParentDoorFd, F_GETFL);
  fcntl(kParentDoorFd, F_SETFL, flags | O_NONBLOCK);
  prctl(PR_SET_NAME, absl::StrCat("smtpd-", RoomName(room)).c_str());
  RoomProcess process(room, std::move(make));
  return process.Run();
}

absl::Status DropPrivileges(const std::string& user, const std::string& root) {
  errno = 0;
  const passwd* pw = getpwnam(user.c_str());
  if (pw == nullptr)
    return absl::NotFoundError(absl::StrCat("unknown user ", user));
  const uid_t uid = pw->pw_uid;
  const gid_t gid = pw->pw_gid;
  if (!root.empty()) {
    if (chroot(root.c_str()) < 0) return SystemError(root, errno);
    if (chdir("/") < 0) return SystemError(root, errno);
  }
  if (setgroups(1, &gid) < 0) return SystemError("setgroups", errno);
  if (setresgid(gid, gid, gid) < 0) return SystemError("setresgid", errno);
  if (setresuid(uid, uid, uid) < 0) return SystemError("setresuid", errno);
  if (getuid() != uid || geteuid() != uid || getgid() != gid ||
      (uid != 0 && setuid(0) == 0))
    return absl::InternalError("privileges were not dropped");
  return absl::OkStatus();
}

}  // namespace holdfast
