// smtpd-agent: delivers local mail as one user.  Started by smtpd, with its
// door to `deliver` as descriptor 3.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/agent/agent.h"
#include "server/agent/agent_arguments.h"
#include "server/agent/command_group.h"
#include "server/agent/identity.h"
#include "server/agent/maildir.h"
#include "server/agent/mbox.h"
#include "server/agent/nursery.h"
#include "server/agent/run_program.h"
#include "server/door/room.h"

namespace holdfast {
namespace {

constexpr int kTemporaryFailure = 75;  // EX_TEMPFAIL

// As which user, and whose home to tell.
struct Person {
  Identity identity;
  std::string mailbox_home;
};

absl::StatusOr<Identity> WorkAs(const AgentArguments& arguments) {
  Identity identity;
  if (arguments.known) {
    identity = {arguments.user, arguments.known->uid, arguments.known->gid,
                arguments.known->home};
  } else {
    absl::StatusOr<Identity> found = FindUser(arguments.user);
    if (absl::IsNotFound(found.status())) {
      return absl::NotFoundError(
          absl::StrCat("delivery user '", arguments.user, "' does not exist"));
    }
    if (!found.ok()) return found.status();
    identity = *std::move(found);
  }
  struct stat folder;
  // Only this group may make files in the mail folder.
  if (arguments.mbox && arguments.privileged &&
      stat(arguments.mail_dir.c_str(), &folder) == 0 && folder.st_gid != 0) {
    identity.gid = folder.st_gid;
  }
  return identity;
}

absl::StatusOr<Person> FindPerson(const AgentArguments& arguments) {
  absl::StatusOr<Identity> identity = WorkAs(arguments);
  if (!identity.ok()) return identity.status();
  Person person{*std::move(identity), ""};
  if (arguments.mailbox_home) {
    person.mailbox_home = *arguments.mailbox_home;
  } else if (!arguments.mailbox_user.empty()) {
    absl::StatusOr<Identity> mailbox = FindUser(arguments.mailbox_user);
    if (absl::IsNotFound(mailbox.status()))
      return absl::NotFoundError("Permanent failure in user lookup");
    if (!mailbox.ok()) return mailbox.status();
    person.mailbox_home = mailbox->home;
  }
  return person;
}

void TellParent(char letter, absl::string_view text) {
  const std::string out = absl::StrCat(std::string(1, letter), text);
  // Shorter than a pipe is deep: one write.
  if (write(kAgentStatusFd, out.data(), out.size()) < 0)
    fprintf(stderr, "smtpd-agent: %s\n", strerror(errno));
  close(kAgentStatusFd);
}

// Many files of a group are open at once.
void RaiseDescriptorLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

absl::Status Serve(const AgentArguments& arguments, const Identity& identity) {
  BlockingDoor door(kParentDoorFd);
  if (arguments.commands) {
    CommandLimits limits;
    limits.time = arguments.seconds == 0 ? absl::InfiniteDuration()
                                         : absl::Seconds(arguments.seconds);
    limits.memory = arguments.memory;
    limits.descriptors = arguments.descriptors;
    return ServeDeliveries(
        &door, AgentDelivery::Method::kCommand,
        [&] {
          CommandOptions options;
          options.home = identity.home;
          options.command = arguments.command;
          options.helper = arguments.helper;
          options.wrapper = arguments.wrapper;
          options.delimiter = arguments.delimiter;
          options.limits = limits;
          return std::make_unique<CommandGroup>(std::move(options));
        },
        CommandStepSeconds(arguments.seconds));
  }
  RaiseDescriptorLimit();
  if (arguments.mbox) {
    return ServeDeliveries(&door, AgentDelivery::Method::kMbox, [&] {
      MboxOptions options;
      options.mail_dir = arguments.mail_dir;
      options.owner = identity.uid;
      return std::make_unique<MboxGroup>(std::move(options));
    });
  }
  return ServeDeliveries(&door, AgentDelivery::Method::kMaildir, [&] {
    return std::make_unique<MaildirGroup>(identity.home);
  });
}

int Deliver(const AgentArguments& arguments) {
  absl::StatusOr<Person> person = FindPerson(arguments);
  absl::Status ready = person.status();
  if (ready.ok())
    ready = Become(person->identity, arguments.privileged, arguments.mbox,
                   arguments.commands);
  if (!ready.ok()) {
    const bool permanent =
        absl::IsNotFound(ready) || absl::IsPermissionDenied(ready);
    TellParent(permanent ? kAgentPermanent : kAgentTemporary, ready.message());
    return permanent ? 1 : kTemporaryFailure;
  }
  TellParent(kAgentStarted, person->mailbox_home);
  const absl::Status served = Serve(arguments, person->identity);
  if (served.ok()) return 0;
  fprintf(stderr, "smtpd-agent: %s\n", std::string(served.message()).c_str());
  return 1;
}

int Execute(const AgentArguments& arguments) {
  absl::StatusOr<Identity> identity = FindUserById(*arguments.exec_uid);
  absl::Status ready = identity.status();
  if (ready.ok()) ready = Become(*identity, arguments.privileged, true);
  if (!ready.ok()) {
    fprintf(stderr, "smtpd-agent: %s\n", std::string(ready.message()).c_str());
    return kTemporaryFailure;
  }
  std::vector<char*> argv;
  for (const std::string& word : arguments.exec)
    argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  fprintf(stderr, "smtpd-agent: %s: %s\n", argv[0], strerror(errno));
  return kTemporaryFailure;
}

int Main(const std::vector<std::string>& words) {
  if (words.size() == 1 && words[0] == kNurseryArgument)
    return RunNursery(kParentDoorFd, Main);
  if (absl::StatusOr<ProgramArguments> program = ParseProgramArguments(words);
      program.ok() && fcntl(kProgramStatusFd, F_SETFD, FD_CLOEXEC) == 0)
    return RunProgram(*program);
  absl::StatusOr<AgentArguments> arguments = ParseAgentArguments(words);
  const bool delivers = arguments.ok() && !arguments->exec_uid;
  if (!arguments.ok() ||
      (delivers && (fcntl(kParentDoorFd, F_SETFD, FD_CLOEXEC) < 0 ||
                    fcntl(kAgentStatusFd, F_SETFD, FD_CLOEXEC) < 0))) {
    fprintf(stderr, "smtpd-agent is started by smtpd, not by hand\n");
    return 1;
  }
  if (!delivers) return Execute(*arguments);
  signal(SIGPIPE, SIG_IGN);
  // A file too large is an error of write(2), not the end.
  signal(SIGXFSZ, SIG_IGN);
  prctl(PR_SET_NAME, "smtpd-agent");
  return Deliver(*arguments);
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) {
  return holdfast::Main(std::vector<std::string>(argv + 1, argv + argc));
}
