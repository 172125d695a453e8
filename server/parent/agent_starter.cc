#include "server/parent/agent_starter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "config/delivery_way.h"
#include "config/userinfo.h"
#include "protocol/vis.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

constexpr size_t kMaxNameBytes = 255;
constexpr size_t kMaxStatusBytes = 4096;

constexpr char kUserLookupFailed[] = "Permanent failure in user lookup";
constexpr char kUserLookupLater[] = "Temporary failure in user lookup";
constexpr char kDoesNotEnd[] = "does not end";

// One without a limit is not waited for any longer than others: it holds up
// what all other users got from that `deliver`.
absl::Duration StepOf(const AgentArguments& arguments) {
  const unsigned seconds =
      arguments.commands ? CommandStepSeconds(arguments.seconds) : 0;
  return absl::Seconds(seconds == 0 ? kAgentStepSeconds : seconds);
}

bool IsName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxNameBytes &&
         name.find('\0') == std::string::npos &&
         name.find('/') == std::string::npos;
}

// "uid:gid:home" of a table userbase.
absl::StatusOr<AgentArguments::User> FindInTable(
    const Table& userbase, const std::string& name,
    const std::set<uint32_t>& own_uids, TableAnswers* answers) {
  absl::StatusOr<std::optional<std::string>> value =
      answers->Lookup(userbase, TableService::kUserinfo, name);
  if (!value.ok()) return absl::UnavailableError(kUserLookupLater);
  if (!value->has_value()) return absl::NotFoundError(kUserLookupFailed);
  const std::optional<Userinfo> info = ParseUserinfo(**value);
  if (!info || info->home.find('\0') != std::string::npos)
    return absl::UnavailableError(kUserLookupLater);
  if (userbase.is_process() && !MayBeNamed(info->uid, info->gid, own_uids)) {
    LogWarn(
        "warn: table %s: %s: uid %d, gid %d may not be a user of a program's "
        "table",
        VisEncode(userbase.name()), VisEncode(name), info->uid, info->gid);
    return absl::UnavailableError(kUserLookupLater);
  }
  AgentArguments::User user;
  user.uid = info->uid;
  user.gid = info->gid;
  user.home = info->home;
  return user;
}

// Commands of the configuration come from here, whatever `deliver` says.
void SetCommands(const Action& action, const Config& config,
                 const std::string& helpers, AgentArguments* arguments) {
  arguments->commands = true;
  arguments->mbox = false;
  arguments->delimiter = config.sub_addr_delim;
  arguments->command = HelperCommand(action, helpers);
  arguments->helper = !arguments->command.empty();
  if (action.method == ActionMethod::kMda)
    arguments->command = action.mda_command;
  const MdaLimits& limits = config.mda_limits;
  arguments->memory = limits.max_command_memory;
  arguments->descriptors = limits.max_command_descriptors;
  if (limits.CommandTimeout() != absl::InfiniteDuration())
    arguments->seconds = limits.command_timeout;
  auto wrapper = config.wrappers.find(action.wrapper);
  if (wrapper != config.wrappers.end()) arguments->wrapper = wrapper->second;
}

}  // namespace

absl::StatusOr<AgentArguments> ArgumentsFor(const AgentRequest& request,
                                            const Config& config,
                                            const std::string& helpers,
                                            const std::set<uint32_t>& own_uids,
                                            TableAnswers* answers) {
  if (!IsName(request.user) ||
      (!request.mailbox_user.empty() && !IsName(request.mailbox_user)))
    return absl::InvalidArgumentError(kUserLookupFailed);
  AgentArguments arguments;
  arguments.user = request.user;
  arguments.mbox = request.mbox;
  arguments.mailbox_user = request.mailbox_user;
  if (request.action.empty() && !request.commands) return arguments;

  auto it = config.actions.find(request.action);
  if (it == config.actions.end())
    return absl::UnavailableError(kUserLookupLater);
  const Action& action = it->second;
  if (request.commands) SetCommands(action, config, helpers, &arguments);
  if (action.userbase == nullptr ||
      (!action.userbase->is_static() && !action.userbase->is_process())) {
    if (request.commands) return arguments;
    return absl::UnavailableError(kUserLookupLater);
  }
  // The `user` option names a user of the system, whatever the userbase is;
  // and only that one.
  if (action.user.empty()) {
    absl::StatusOr<AgentArguments::User> user =
        FindInTable(*action.userbase, request.user, own_uids, answers);
    if (!user.ok()) return user.status();
    arguments.known = *std::move(user);
  } else if (action.user != request.user) {
    return absl::InvalidArgumentError(kUserLookupFailed);
  }
  if (!request.mailbox_user.empty()) {
    absl::StatusOr<AgentArguments::User> mailbox =
        FindInTable(*action.userbase, request.mailbox_user, own_uids, answers);
    if (!mailbox.ok()) return mailbox.status();
    arguments.mailbox_home = mailbox->home;
  }
  return arguments;
}

void AgentStarter::Refuse(Door* door, uint64_t request, bool permanent,
                          const std::string& error) {
  AgentReady ready;
  ready.request = request;
  ready.permanent = permanent;
  ready.error = error;
  door->Send(ready);
}

size_t AgentStarter::MaxAgents() const {
  return options_.config->mda_limits.max_session + kMaxKeptAgents;
}

void AgentStarter::OnRequest(WorkerId worker, Door* door,
                             const AgentRequest& request) {
  if (agents_.size() + waiting_.size() >= MaxAgents()) {
    return Refuse(door, request.request, false,
                  absl::StrCat(kNoAgentRoom, ": too many"));
  }
  auto waiting = std::make_unique<Waiting>();
  waiting->worker = worker;
  waiting->deliver = door;
  waiting->request = request;
  const uint64_t number = next_++;
  waiting_.emplace(number, std::move(waiting));
  Begin(number);
}

// Again and again, until no program has to be asked any more.
void AgentStarter::Begin(uint64_t number) {
  Waiting& waiting = *waiting_.at(number);
  absl::StatusOr<AgentArguments> arguments =
      ArgumentsFor(waiting.request, *options_.config, options_.helpers,
                   options_.own_uids, &waiting.answers);
  if (waiting.answers.missing()) {
    options_.ask_program(*waiting.answers.missing(),
                         [this, number](TableResult result) {
                           const auto it = waiting_.find(number);
                           if (it == waiting_.end()) return;
                           it->second->answers.Give(std::move(result));
                           Begin(number);
                         });
    return;
  }
  const std::unique_ptr<Waiting> ready =
      std::move(waiting_.extract(number).mapped());
  if (!arguments.ok()) {
    return Refuse(ready->deliver, ready->request.request,
                  !absl::IsUnavailable(arguments.status()),
                  std::string(arguments.status().message()));
  }
  arguments->privileged = options_.privileged;
  arguments->mail_dir = options_.mail_dir;
  Launch(ready->worker, ready->deliver, ready->request.request, *arguments);
}

void AgentStarter::Launch(WorkerId worker, Door* door, uint64_t request,
                          const AgentArguments& arguments) {
  auto [ours, theirs] = MakeDoorSockets();
  int status[2] = {-1, -1};
  if (!ours || !theirs || pipe2(status, O_CLOEXEC | O_NONBLOCK) != 0) {
    return Refuse(door, request, false,
                  absl::StrCat(kNoAgentRoom, ": no descriptors"));
  }
  const uint64_t number = next_++;
  auto agent = std::make_unique<Agent>();
  agent->worker = worker;
  agent->request = request;
  agent->deliver = door;
  agent->door = std::move(ours);
  agent->status.Reset(status[0]);
  ProgramStart program;
  program.path = options_.program;
  program.arguments = ToArguments(arguments);
  program.nursery = true;
  program.fds.push_back(std::move(theirs));
  program.fds.emplace_back(status[1]);
  absl::StatusOr<pid_t> pid = processes_->Start(
      std::move(program), [this, number](int how) { OnExit(number, how); });
  if (!pid.ok()) {
    LogWarn("warn: agent: %s", pid.status().message());
    return Refuse(door, request, false,
                  absl::StrCat(kNoAgentRoom, ": not started"));
  }
  agent->pid = *pid;
  agent->step = StepOf(arguments);
  Agent* kept = agent.get();
  agents_.emplace(number, std::move(agent));
  kept->watch = loop_->WatchDescriptor(
      kept->status.get(), [this, number, kept] { ReadStatus(number, kept); },
      [] {});
  kept->watch->Want(true, false);
  KillAfter(kAgentStartDeadline, "no answer from the user database", kept);
}

void AgentStarter::KillAfter(absl::Duration delay, const char* why,
                             Agent* agent) {
  agent->deadline = loop_->RunAfter(delay, [this, why, agent] {
    LogWarn("warn: agent: %s", why);
    processes_->Kill(agent->pid, SIGKILL);
  });
}

void AgentStarter::ReadStatus(uint64_t number, Agent* agent) {
  char bytes[512];
  ssize_t n;
  while ((n = read(agent->status.get(), bytes, sizeof bytes)) > 0) {
    const size_t room = kMaxStatusBytes - agent->said.size();
    agent->said.append(bytes, std::min(room, static_cast<size_t>(n)));
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  agent->watch.reset();
  agent->status.Reset();
  // Nothing said: it has died, and OnExit() answers.
  if (!agent->said.empty()) Answer(number, agent);
}

void AgentStarter::Answer(uint64_t number, Agent* agent) {
  agent->deadline.reset();
  agent->answered = true;
  const bool started = agent->said[0] == kAgentStarted;
  if (agent->deliver == nullptr || !started) {
    agent->door.Reset();  // nobody wants it: it ends
    KillAfter(kAgentEnd, kDoesNotEnd, agent);
  }
  if (agent->deliver == nullptr) return;
  const std::string text = agent->said.substr(1);
  if (!started) {
    return Refuse(agent->deliver, agent->request,
                  agent->said[0] == kAgentPermanent, text);
  }
  agent->announced = true;
  AgentReady ready;
  ready.request = agent->request;
  ready.ok = true;
  ready.agent = number;
  ready.home = text;
  std::vector<OwnedFd> fds;
  fds.push_back(std::move(agent->door));
  agent->deliver->Send(ready, std::move(fds));
}

void AgentStarter::OnKill(WorkerId worker, const AgentKill& kill) {
  auto it = agents_.find(kill.agent);
  if (it != agents_.end() && it->second->worker == worker)
    processes_->Kill(it->second->pid, SIGKILL);
}

void AgentStarter::OnExit(uint64_t number, int wait_status) {
  auto it = agents_.find(number);
  if (it == agents_.end()) return;
  // What it said last may not have been read yet.
  if (it->second->watch != nullptr) ReadStatus(number, it->second.get());
  std::unique_ptr<Agent> agent = std::move(it->second);
  agents_.erase(it);
  if (agent->deliver != nullptr) {
    if (agent->announced) {
      AgentEnded ended;
      ended.agent = number;
      ended.how = HowItEnded(wait_status);
      agent->deliver->Send(ended);
    } else if (!agent->answered) {
      Refuse(agent->deliver, agent->request, false, HowItEnded(wait_status));
    }
    return;
  }
  for (const auto& [other, living] : agents_) {
    if (living->worker == agent->worker) return;
  }
  on_last_ended_(agent->worker);
}

bool AgentStarter::OnDeliverDied(WorkerId worker) {
  std::erase_if(waiting_, [worker](const auto& waiting) {
    return waiting.second->worker == worker;
  });
  bool any = false;
  for (auto& [number, agent] : agents_) {
    if (agent->worker != worker) continue;
    any = true;
    agent->deliver = nullptr;
    agent->door.Reset();
    // Others have a deadline.
    if (agent->announced)
      KillAfter(agent->step + kAgentEnd, kDoesNotEnd, agent.get());
  }
  return any;
}

}  // namespace holdfast
