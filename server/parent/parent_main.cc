// smtpd(8): reads the configuration, opens what needs privilege, becomes a
// daemon and keeps the rooms running.
#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "config/delivery_way.h"
#include "config/filter_use.h"
#include "config/print.h"
#include "server/log/log.h"
#include "server/parent/capabilities.h"
#include "server/parent/command_line.h"
#include "server/parent/instance.h"
#include "server/parent/parent.h"
#include "server/parent/programs.h"
#include "server/parent/spool_setup.h"
#include "server/parent/system_facts.h"
#include "server/parent/tls_files.h"
#include "server/parent/version.h"
#include "server/receive/client_table.h"
#include "storage/queue_keys.h"

namespace holdfast {
namespace {

constexpr uint32_t kMaxWorkers = 64;

const char* const kPrograms[] = {
    "smtpd-lookup",  "smtpd-queue", "smtpd-receive", "smtpd-relay",
    "smtpd-deliver", "smtpd-auth",  "smtpd-agent",   "smtpd-keys"};

void Say(absl::string_view line) {
  fprintf(stderr, "%s\n", std::string(line).c_str());
}

[[noreturn]] void Refuse(absl::string_view message) {
  Say(absl::StrCat("smtpd: ", message));
  exit(1);
}

// One receive and one relay room for each core; one where there are two cores
// at most.
uint32_t CountWorkers() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return 1;
  const auto count = static_cast<uint32_t>(CPU_COUNT(&cores));
  return count <= 2 ? 1 : std::min(count, kMaxWorkers);
}

void LoadConfiguration(const CommandLine& line, ParentSetup* setup) {
  absl::StatusOr<std::string> name = FindServerName();
  if (!name.ok()) Refuse(name.status().message());
  const std::vector<InterfaceAddress> interfaces = FindInterfaceAddresses();
  setup->parse.path = line.config_path;
  setup->parse.server_name = *name;
  for (const InterfaceAddress& one : interfaces)
    setup->parse.local_addresses.push_back(one.address);
  setup->parse.definitions = line.definitions;
  setup->parse.has_table_program =
      [folders = setup->program_folders](absl::string_view word) {
        return HasTableProgram(word, folders);
      };
  setup->loaded = LoadConfig(setup->parse, ReadWholeFile);
  for (const std::string& message : setup->loaded.messages) Say(message);
  if (setup->loaded.config == nullptr) exit(1);
  absl::StatusOr<std::vector<ListenAddress>> addresses =
      ResolveListeners(setup->loaded.config->listeners, interfaces);
  if (!addresses.ok()) Refuse(addresses.status().message());
  setup->addresses = *std::move(addresses);
  setup->paths = PathsBelow(setup->loaded.config->spool);
}

// Each room gets its files in one frame.
void CheckSize(const ParentSetup& setup) {
  size_t bytes = 0;
  for (const Start::File& file : setup.loaded.files)
    bytes += file.path.size() + file.contents.size() + 64;
  for (const auto* files : {&setup.tls.certificates, &setup.tls.keys}) {
    for (const Start::File& file : *files)
      bytes += file.path.size() + file.contents.size() + 64;
  }
  if (bytes + (64 << 10) > kMaxFrameBytes) {
    Refuse(absl::StrCat("configuration and certificates are larger than ",
                        kMaxFrameBytes >> 20, " MiB"));
  }
}

void FindFolder(ParentSetup* setup) {
  absl::StatusOr<std::string> own = FindOwnFolder();
  if (!own.ok()) Refuse(own.status().message());
  const std::string libexec = absl::StrCat(*own, "/../libexec/holdfast");
  setup->folder = FindProgram("smtpd-queue", {*own}).empty() ? libexec : *own;
  setup->program_folders =
      ProgramFolders({setup->folder, absl::StrCat(setup->folder, "/../ctl")});
}

void NeedProgram(const ParentSetup& setup, const char* program) {
  if (FindProgram(program, {setup.folder}).empty())
    Refuse(absl::StrCat("no program ", setup.folder, "/", program));
}

// Ends the program if a certificate or key is not what it should be.
void LoadTls(ParentSetup* setup) {
  const Config& config = *setup->loaded.config;
  if (!NeedsTlsCheck(config)) return;
  std::vector<std::string> messages;
  const absl::Status read =
      ReadTlsFiles(config, geteuid(), &setup->tls, &messages);
  for (const std::string& message : messages) Say(message);
  if (!read.ok()) Refuse(read.message());
  NeedProgram(*setup, "smtpd-keys");
  Start start;
  start.config_path = setup->parse.path;
  start.files = FilesFor(Room::kKeys, setup->parse.path, setup->loaded);
  start.definitions = setup->parse.definitions;
  start.server_name = setup->parse.server_name;
  start.local_addresses = setup->parse.local_addresses;
  messages.clear();
  const absl::Status checked =
      CheckTlsFiles(absl::StrCat(setup->folder, "/smtpd-keys"),
                    std::move(start), &setup->tls, &messages);
  if (!checked.ok()) Refuse(checked.message());
  for (const std::string& message : messages)
    Say(absl::StrCat("smtpd: ", message));
  if (!messages.empty()) exit(1);
}

void FindPrograms(ParentSetup* setup) {
  for (const char* program : kPrograms) NeedProgram(*setup, program);
  if (!FiltersInUse(*setup->loaded.config).empty())
    NeedProgram(*setup, "smtpd-filters");
  absl::StatusOr<std::string> own = FindOwnFolder();
  if (!own.ok()) Refuse(own.status().message());
  setup->smtpctl = FindProgram("smtpctl", {*own, absl::StrCat(*own, "/../ctl"),
                                           absl::StrCat(*own, "/../sbin"),
                                           "/usr/local/sbin", "/usr/sbin"});
  for (const std::string& folder :
       {setup->folder, absl::StrCat(setup->folder, "/../ctl")}) {
    if (setup->helpers.empty() &&
        !FindProgram("mail.maildir", {folder}).empty())
      setup->helpers = folder;
  }
  for (const auto& [name, action] : setup->loaded.config->actions) {
    if (!HelperCommand(action, "").empty() && setup->helpers.empty())
      NeedProgram(*setup, "mail.maildir");
  }
}

SpoolOwners FindOwners(bool privileged) {
  if (!privileged) return {geteuid(), geteuid(), getegid()};
  const passwd* queue = nullptr;
  for (const char* user : {kAliasCommandUser, kQueueUser}) {
    queue = getpwnam(user);
    if (queue == nullptr) {
      Refuse(absl::StrCat("unknown user ", user,
                          ": run scripts/install or create it"));
    }
  }
  return {0, queue->pw_uid, queue->pw_gid};
}

// Of all users that something of ours runs as.
std::set<uint32_t> OwnUids(const ParentSetup& setup) {
  std::set<uint32_t> uids;
  for (const std::string& user :
       {std::string(kAliasCommandUser), std::string(kQueueUser),
        setup.network_user}) {
    if (const passwd* found = getpwnam(user.c_str()))
      uids.insert(found->pw_uid);
  }
  return uids;
}

void ChooseNetworkUser(ParentSetup* setup) {
  if (getpwnam(kNetworkUser) != nullptr) return;
  setup->network_user = kAliasCommandUser;
  LogWarn(
      "warn: no user %s: commands of aliases can end the processes on the "
      "network, which are %s's, too (scripts/setup --users makes it)",
      kNetworkUser, kAliasCommandUser);
}

std::vector<std::string> RoomEnvironment(bool privileged) {
  std::vector<std::string> out;
  if (privileged) {
    out.push_back("PATH=/usr/bin:/bin");
    if (const char* zone = getenv("TZ"))
      out.push_back(absl::StrCat("TZ=", zone));
    return out;
  }
  // Development and tests: the user's own.
  for (char** one = environ; *one != nullptr; ++one) out.push_back(*one);
  return out;
}

// Of filters and processes of tables.
std::vector<std::string> ProgramEnvironment(bool privileged) {
  std::vector<std::string> out = RoomEnvironment(privileged);
  if (privileged)
    out[0] =
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  return out;
}

// Away from the terminal and from who started it.
void BecomeDaemon() {
  const pid_t pid = fork();
  if (pid < 0) Refuse("fork failed");
  if (pid > 0) _exit(0);
  setsid();
  if (chdir("/") != 0) Refuse("no root folder");
  const int null = open("/dev/null", O_RDWR);
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null, fd);
  if (null > STDERR_FILENO) close(null);
}

void OpenSockets(ParentSetup* setup, uint32_t workers) {
  // Somebody else who listens is found without sharing; shared sockets would
  // just join him.
  if (workers > 1) {
    absl::StatusOr<std::vector<OwnedFd>> alone =
        ListenOn(&setup->addresses, false);
    if (!alone.ok()) Refuse(alone.status().message());
  }
  for (uint32_t i = 0; i < workers; ++i) {
    absl::StatusOr<std::vector<OwnedFd>> mine =
        ListenOn(&setup->addresses, workers > 1);
    if (!mine.ok()) Refuse(mine.status().message());
    setup->listening.push_back(*std::move(mine));
  }
}

// Without it clients are served, but not counted.
OwnedFd MakeClientMemory(uint32_t workers) {
  uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != sizeof seed) Refuse("no random bits");
  absl::StatusOr<OwnedFd> memory = ClientTable::MakeMemory(workers, seed);
  if (memory.ok()) return *std::move(memory);
  Say(absl::StrCat("clients are not counted: ", memory.status().message()));
  return OwnedFd();
}

// Descriptors 0, 1, 2 must be somebody's, or a socket becomes one of them.
void FillStandardDescriptors() {
  int fd;
  do {
    fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) close(fd);
}

// Those that are not in the configuration are asked for.
void FindQueueKeys(ParentSetup* setup) {
  const Config& config = *setup->loaded.config;
  if (!config.queue_encryption) return;
  std::optional<std::string> current = config.queue_key;
  if (config.queue_key == kNoQueueKey) current.reset();
  absl::StatusOr<StoreKeys> keys =
      ReadStoreKeys(current, config.queue_previous_key);
  if (!keys.ok()) Refuse(keys.status().message());
  setup->queue_keys = *std::move(keys);
}

int Serve(CommandLine line, ParentSetup setup) {
  setup.privileged = geteuid() == 0;
  FindPrograms(&setup);
  CheckSize(setup);
  FindQueueKeys(&setup);
  const SpoolOwners owners = FindOwners(setup.privileged);
  std::vector<std::string> problems;
  absl::Status spool = SetUpSpool(setup.paths, owners, &problems);
  for (const std::string& problem : problems) Say(problem);
  if (!spool.ok()) Refuse(spool.message());
  absl::StatusOr<std::unique_ptr<Instance>> instance =
      Instance::Begin(setup.paths);
  if (!instance.ok()) Refuse(instance.status().message());
  const uint32_t workers = CountWorkers();
  OpenSockets(&setup, workers);
  setup.relays = workers;
  setup.client_memory = MakeClientMemory(workers);
  setup.control = (*instance)->control();
  setup.enqueue = (*instance)->enqueue();
  setup.environment = RoomEnvironment(setup.privileged);
  setup.program_environment = ProgramEnvironment(setup.privileged);
  setup.syslog = line.output != CommandLine::Output::kDebug;
  setup.verbose = line.verbose;
  setup.paused = line.paused;

  if (line.output == CommandLine::Output::kDaemon) BecomeDaemon();
  OpenLog(setup.syslog ? LogSink::kSyslog : LogSink::kStderr, setup.verbose);
  if (absl::Status s = (*instance)->WritePid(); !s.ok())
    LogWarn("warn: %s", s.message());
  if (setup.privileged) {
    ChooseNetworkUser(&setup);
    setup.own_uids = OwnUids(setup);
    // It has the private keys in its memory.
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (absl::Status s = DropCapabilities(); !s.ok())
      LogWarn("warn: %s", s.message());
  }
  LogInfo("info: %s starting", kVersion);
  bool gave_up = false;
  {
    std::unique_ptr<EventLoop> loop = MakeUvEventLoop();
    InstallLogFlush(loop.get());
    SystemProcesses processes(loop.get());
    Parent parent(loop.get(), &processes, std::move(setup));
    EventLoop::Timer term =
        loop->OnSignal(SIGTERM, [&parent] { parent.Stop(); });
    EventLoop::Timer interrupt =
        loop->OnSignal(SIGINT, [&parent] { parent.Stop(); });
    parent.Begin();
    loop->Run();
    gave_up = parent.gave_up();
    // No agent may outlive us: the next start counts its work as in doubt.
    processes.KillAllAndWait();
  }
  instance->reset();
  LogInfo("Exiting");
  FlushLog();
  return gave_up ? 1 : 0;
}

int Main(const std::vector<std::string>& arguments) {
  FillStandardDescriptors();
  // SIGHUP is no reload, and it does not end a mail server either.  SIGIO: see
  // offline_runner.cc.
  for (int signal_number : {SIGHUP, SIGPIPE, SIGIO})
    signal(signal_number, SIG_IGN);
  umask(022);
  CommandLine line = ParseCommandLine(arguments);
  for (const std::string& message : line.messages) Say(message);
  if (line.usage) {
    Say(Usage());
    return 1;
  }
  ParentSetup setup;
  FindFolder(&setup);
  LoadConfiguration(line, &setup);
  LoadTls(&setup);
  if (line.check_only) {
    for (const std::string& warning : setup.loaded.warnings) Say(warning);
    for (const std::string& warning :
         MissingPrograms(*setup.loaded.config, setup.program_folders))
      Say(warning);
    if (line.verbose) {
      fputs(ConfigToText(*setup.loaded.config).c_str(), stdout);
    }
    Say("configuration OK");
    return 0;
  }
  return Serve(std::move(line), std::move(setup));
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) {
  return holdfast::Main(std::vector<std::string>(argv + 1, argv + argc));
}
