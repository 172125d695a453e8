// smtpctl and its other names: mailq, sendmail, send-mail, newaliases, makemap.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "config/config.h"
#include "ctl/control/command_grammar.h"
#include "ctl/control/command_help.h"
#include "ctl/control/completion.h"
#include "ctl/control/control_client.h"
#include "ctl/control/encrypt.h"
#include "ctl/control/json_output.h"
#include "ctl/control/message_output.h"
#include "ctl/control/whole_io.h"
#include "ctl/spf/spf_command.h"
#include "ctl/submission/sendmail.h"
#include "ctl/top/top.h"

namespace holdfast {
namespace {

using Words = std::vector<std::string>;

// Of a command that does not exist.
constexpr int kSyntaxError = 255;

void Say(absl::string_view line) {
  WriteAll(STDERR_FILENO, absl::StrCat(line, "\n"));
}

std::string BaseName(absl::string_view path) {
  const size_t slash = path.rfind('/');
  return std::string(slash == absl::string_view::npos ? path
                                                      : path.substr(slash + 1));
}

bool IsName(absl::string_view word) {
  return word == "mailq" || word == "sendmail" || word == "send-mail" ||
         word == "newaliases" || word == "makemap";
}

// `--spool PATH`, before anything else; else the environment's.
std::string TakeSpool(Words* words) {
  const char* environment = getenv("SMTPD_SPOOL");
  std::string spool = environment != nullptr ? environment : "";
  if (words->empty()) return spool;
  if (absl::StartsWith((*words)[0], "--spool=")) {
    spool = (*words)[0].substr(strlen("--spool="));
    words->erase(words->begin());
  } else if ((*words)[0] == "--spool" && words->size() > 1) {
    spool = (*words)[1];
    words->erase(words->begin(), words->begin() + 2);
  }
  return spool;
}

// What nobody else may have the store open for.
bool NeedsStoreAlone(const Words& words) {
  return words.size() >= 2 && words[0] == "queue" &&
         (words[1] == "compact" ||
          (words[1] == "check" && words.size() > 2 && words[2] == "--repair"));
}

// What can be read from the store while the daemon is down.
bool WorksOffline(const Words& words) {
  if (words == Words{"queue", "check"} || words[0] == "history") return true;
  if (words.size() >= 2 && words[0] == "queue" && words[1] == "stat")
    return true;
  if (NeedsStoreAlone(words)) return true;
  if (words.size() < 2 || words[0] != "show") return false;
  static const Words kShown = {"queue", "message", "envelope", "doubt",
                               "ledger"};
  return std::find(kShown.begin(), kShown.end(), words[1]) != kShown.end();
}

// What smtpctl-store does whether the daemon runs or not: it asks it itself.
bool MovesMail(const Words& words) {
  return words.size() > 1 && words[0] == "queue" &&
         (words[1] == "export" || words[1] == "import" || words[1] == "backup");
}

// Becomes another program of ours, which lies beside this one or in
// ../libexec/holdfast; returns only if it can't.
int Become(const std::string& program, Words arguments) {
  char self[PATH_MAX] = {};
  const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  const std::string path(self, n > 0 ? static_cast<size_t>(n) : 0);
  const std::string folder = path.substr(0, path.rfind('/'));
  arguments.insert(arguments.begin(), program);
  std::vector<char*> argv;
  for (std::string& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  for (const char* place : {"/", "/../libexec/holdfast/"})
    execv(absl::StrCat(folder, place, program).c_str(), argv.data());
  Say(absl::StrCat(program, ": ", strerror(errno)));
  return 1;
}

int BecomeStoreTool(Words arguments) {
  return Become("smtpctl-store", std::move(arguments));
}

// What is printed to `fd` until it closes, as JSON.
void PrintAsJson(int fd, JsonOutput* json) {
  char buffer[65536];
  for (;;) {
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    if (!WriteAll(STDOUT_FILENO, json->Take({buffer, static_cast<size_t>(n)})))
      return;
  }
  WriteAll(STDOUT_FILENO, json->End());
}

// `json` (may be null): what is printed goes through it.
int ReadOffline(const std::string& spool, const Words& words,
                JsonOutput* json) {
  Words arguments = {"--spool", spool};
  arguments.insert(arguments.end(), words.begin(), words.end());
  if (json == nullptr) return BecomeStoreTool(std::move(arguments));
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return 1;
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    _exit(BecomeStoreTool(std::move(arguments)));
  }
  close(ends[1]);
  if (child > 0) PrintAsJson(ends[0], json);
  close(ends[0]);
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return 1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

// `text` is what standard input is from now on: the words of a program are seen
// by everybody, this is not.
bool BecomeInput(const std::string& text) {
  const int fd = memfd_create("password", MFD_CLOEXEC);
  return fd >= 0 && WriteAll(fd, text) && lseek(fd, 0, SEEK_SET) == 0 &&
         dup2(fd, STDIN_FILENO) == STDIN_FILENO;
}

// encrypt [-s] [string]
int RunEncrypt(const Words& words) {
  const bool scram = words.size() > 1 && words[1] == "-s";
  if (words.size() > (scram ? 2 : 1) &&
      !BecomeInput(absl::StrCat(words.back(), "\n"))) {
    Say(absl::StrCat("smtpctl: ", strerror(errno)));
    return 1;
  }
  return scram ? BecomeStoreTool({"encrypt", "-s"}) : EncryptLines(CryptHash);
}

// On a terminal, acts on many envelopes tell how far they are.
Words WithProgress(Words words) {
  static const Words kActs = {"remove", "hold",   "release", "schedule",
                              "expire", "bounce", "reroute", "set"};
  if (words.size() > 2 && words[0] == "queue" && isatty(STDOUT_FILENO) &&
      std::find(kActs.begin(), kActs.end(), words[1]) != kActs.end())
    words.insert(words.begin() + 2, "--progress");
  return words;
}

// A command, and how to print it.
struct Asked {
  Words words;
  std::unique_ptr<JsonOutput> json;  // null: as text

  bool Print(absl::string_view text) const {
    if (json == nullptr) return WriteAll(STDOUT_FILENO, text);
    return WriteAll(STDOUT_FILENO, json->Take(text));
  }
  // `status` again.
  int End(int status) const {
    if (json != nullptr) WriteAll(STDOUT_FILENO, json->End());
    return status;
  }
};

// What needs neither the daemon nor its store; -1: something else.
int RunAlone(const Asked& asked) {
  const Words& words = asked.words;
  if (words[0] == "encrypt") return RunEncrypt(words);
  if (words[0] == "help") {
    const absl::optional<std::string> text =
        HelpText({words.begin() + 1, words.end()});
    if (text.has_value()) return WriteAll(STDOUT_FILENO, *text) ? 0 : 1;
    Say("invalid command");
    return kSyntaxError;
  }
  if (words[0] == "spf")
    return asked.End(RunSpfWalk(
        [&asked](absl::string_view line) { return asked.Print(line); }));
  if (words[0] == "completion") {
    const std::string script =
        words[1] == "zsh" ? ZshCompletion() : BashCompletion();
    return WriteAll(STDOUT_FILENO, script) ? 0 : 1;
  }
  return -1;
}

// Takes `--json` off the words, wherever it stands.
// that make JSON themselves.  False: the command has none.
bool TakeJson(Words* words) {
  const auto at = std::find(words->begin(), words->end(), "--json");
  if (at == words->end()) return false;
  words->erase(at);
  return true;
}

// False: the command has no JSON.
bool PrepareJson(Asked* asked) {
  Words& words = asked->words;
  const bool list =
      words.size() > 1 && words[0] == "queue" && words[1] == "list";
  if (!list) asked->json = JsonOutput::For(words);
  if (asked->json != nullptr) return true;
  if (list) {
    words.insert(words.begin() + 2, {"--format", "json"});
  } else if (words[0] == "history" || words[0] == "queue") {
    words.push_back("--json");
  } else {
    return false;
  }
  return true;
}

int AskDaemon(int fd, const std::string& program, const Asked& asked) {
  Words words = WithProgress(asked.words);
  MessageOutput output(MessageOutput::TakeForm(&words));
  return asked.End(RunControlCommand(
      fd, words, program,
      [&](absl::string_view text) { return asked.Print(output.Take(text)); }));
}

// Root, and who started the daemon as himself.
bool MayReadStore(const SpoolPaths& paths) {
  struct stat st;
  const uid_t user = geteuid();
  return user == 0 ||
         (stat(paths.store.c_str(), &st) == 0 && st.st_uid == user);
}

int RunControl(const std::string& program, const std::string& spool,
               Words words) {
  const bool json = TakeJson(&words);
  Asked asked;
  const ParsedCommand command = ParseCommand(words);
  if (command.words.empty()) {
    for (const std::string& line : command.errors) Say(line);
    return kSyntaxError;
  }
  asked.words = command.words;
  if (asked.words[0] == "top") {
    asked.words.erase(asked.words.begin());
    if (json) asked.words.push_back("--json");
    return RunTop(asked.words, PathsBelow(spool).control_socket, program);
  }
  if (json && !PrepareJson(&asked)) {
    Say(absl::StrCat(program, ": no --json for this command"));
    return kSyntaxError;
  }
  const int alone = RunAlone(asked);
  if (alone >= 0) return alone;
  if (MovesMail(asked.words)) return ReadOffline(spool, asked.words, nullptr);
  absl::StatusOr<int> fd = ConnectUnix(PathsBelow(spool).control_socket);
  if (fd.ok() && NeedsStoreAlone(asked.words)) {
    close(*fd);
    Say(absl::StrCat(program, ": smtpd is running; stop it first"));
    return 1;
  }
  if (fd.ok()) return AskDaemon(*fd, program, asked);
  if (!absl::IsUnavailable(fd.status())) {
    Say(absl::StrCat(program, ": ", std::string(fd.status().message())));
    return 1;
  }
  if (!MayReadStore(PathsBelow(spool))) {
    Say(absl::StrCat(program, ": need root privileges"));
    return 1;
  }
  if (WorksOffline(asked.words))
    return ReadOffline(spool, asked.words, asked.json.get());
  Say(absl::StrCat(program, ": smtpd doesn't seem to be running"));
  return 1;
}

int BecomeMapTool(const std::string& program, const std::string& spool,
                  const Words& words) {
  Words arguments = {program};
  if (program == "newaliases") arguments.push_back(spool);
  arguments.insert(arguments.end(), words.begin(), words.end());
  return Become("smtpctl-makemap", std::move(arguments));
}

// Descriptors 0 to 2 are open, so that no file of ours becomes one of them.
void HoldStandardDescriptors() {
  int fd = 0;
  do {
    fd = open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd > STDERR_FILENO) close(fd);
}

int Main(int argc, char** argv) {
  HoldStandardDescriptors();
  signal(SIGPIPE, SIG_IGN);
  std::string program = argc > 0 ? BaseName(argv[0]) : "";
  Words words(argv + std::min(argc, 1), argv + argc);
  std::string spool = TakeSpool(&words);
  if (program == "smtpctl" && !words.empty() && IsName(words[0])) {
    // `smtpctl sendmail ...` acts by that name: for trees without links.
    program = words[0];
    words.erase(words.begin());
    const std::string after = TakeSpool(&words);
    if (spool.empty()) spool = after;
  }
  if (program == "sendmail" || program == "send-mail") {
    if (WantsNewaliases(words))
      return BecomeMapTool("newaliases", spool, words);
    return RunSendmail(words, PathsBelow(spool));
  }
  if (program == "mailq") return RunControl(program, spool, {"show", "queue"});
  if (program == "newaliases" || program == "makemap")
    return BecomeMapTool(program, spool, words);
  if (program == "smtpctl") return RunControl(program, spool, words);
  Say("unsupported mode");
  return 1;
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) { return holdfast::Main(argc, argv); }
