// smtp-blackhole: an SMTP server that takes everything (or refuses what it is
// told to), keeps a ledger of it and throws it away.  `--help` lists the
// options.  SIGUSR1, a connection to --status and the end give the statistics
// as one line of JSON.
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "ctl/load/flags.h"
#include "ctl/load/ledger.h"
#include "ctl/load/poller.h"
#include "ctl/load/sink_plan.h"
#include "ctl/load/sink_server.h"
#include "ctl/load/socket_address.h"

namespace holdfast {
namespace {

constexpr int kUsageError = 2;

struct Options {
  SinkPlan plan;
  SinkServer::Limits limits;
  LedgerWriter::Options ledger;
  int64_t seed = 1;
  int64_t seconds = 0;
  std::string hidden;
  std::string status_socket;
  bool help = false;
};

void AddFlags(Flags& flags, Options& options) {
  SinkPlan& plan = options.plan;
  flags.Each(
      "answer", [&plan](const std::string& v) { return plan.SetAnswer(v); },
      "STAGE=CODE|drop|hang|lose[/PERCENT%]; STAGE is connect, ehlo, mail, "
      "rcpt, data, end, rset or quit");
  flags.Each(
      "delay", [&plan](const std::string& v) { return plan.SetDelay(v); },
      "STAGE=MILLISECONDS before the answer");
  flags.Text("hide", &options.hidden, "EHLO keywords not to offer, by commas");
  flags.Each(
      "offer",
      [&plan](const std::string& v) {
        plan.offered.insert(absl::AsciiStrToUpper(v));
        return absl::OkStatus();
      },
      "one more line of EHLO: \"DELIVERBY 60\"");
  flags.Text("commands", &plan.commands,
             "file to append MAIL and RCPT lines to");
  flags.Text("name", &plan.name, "name in the banner");
  flags.Number("max-size", &plan.max_size, "bytes of a message");
  flags.Number("max-recipients", &plan.max_recipients, "of a message");
  flags.Number("max-connections", &plan.max_connections, "at a time");
  flags.Text("capture", &plan.capture, "folder for a file of each message");
  flags.Number("capture-limit", &plan.capture_limit, "files");
  flags.Text("ledger", &options.ledger.path, "file to append to");
  flags.Switch("ledger-sync", &options.ledger.sync, "write it with O_DSYNC");
  flags.Text("serial-device", &options.ledger.serial_device,
             "device that gets the last serial with direct I/O");
  flags.Number("messages", &options.limits.messages, "end after; 0: never");
  flags.Number("recipients", &options.limits.recipients, "likewise");
  flags.Number("seconds", &options.seconds, "end after; 0: never");
  flags.Number("seed", &options.seed, "of the shares in --answer");
  flags.Text("status", &options.status_socket, "Unix socket for statistics");
  flags.Switch("help", &options.help, "this text");
}

absl::StatusOr<int> ListenOnUnix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": too long"));
  }
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  unlink(path.c_str());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0 ||
      bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(fd, 16) != 0) {
    const int error = errno;
    if (fd >= 0) close(fd);
    return absl::UnavailableError(absl::StrCat(path, ": ", strerror(error)));
  }
  return fd;
}

// Writes the statistics to whoever connects; they fit a socket's buffer.
void AnswerStatus(int listening, const SinkServer& server) {
  const int fd =
      accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  const std::string text = server.StatsJson() + "\n";
  send(fd, text.data(), text.size(), MSG_NOSIGNAL);
  close(fd);
}

void PrintStats(const SinkServer& server) {
  printf("%s\n", server.StatsJson().c_str());
  fflush(stdout);
}

void WatchSignals(Poller& poller, const SinkServer& server) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGUSR1, SIGTERM, SIGINT}) {
    sigaddset(&signals, number);
  }
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  const int fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
  poller.Add(fd, EPOLLIN, [fd, &poller, &server](uint32_t) {
    signalfd_siginfo info;
    while (read(fd, &info, sizeof(info)) == sizeof(info)) {
      if (info.ssi_signo != SIGUSR1) return poller.Stop();
      PrintStats(server);
    }
  });
}

int Fail(const Flags& flags, const absl::Status& error) {
  fprintf(stderr, "smtp-blackhole: %s\n%s", error.ToString().c_str(),
          flags.Help().c_str());
  return kUsageError;
}

int Main(int argc, char** argv) {
  Options options;
  Flags flags("smtp-blackhole [options] ADDRESS:PORT...");
  AddFlags(flags, options);
  const auto words = flags.Parse(argc, argv);
  if (!words.ok()) return Fail(flags, words.status());
  if (options.help) {
    fputs(flags.Help().c_str(), stdout);
    return 0;
  }
  if (words->empty()) {
    return Fail(flags, absl::InvalidArgumentError("listen where?"));
  }
  for (const std::string& keyword :
       std::vector<std::string>(absl::StrSplit(options.hidden, ','))) {
    options.plan.offered.erase(absl::AsciiStrToUpper(keyword));
  }
  LedgerWriter ledger;
  const absl::Status opened = ledger.Open(options.ledger);
  if (!opened.ok()) return Fail(flags, opened);

  Poller poller;
  SinkServer server(&poller, options.plan, options.limits, options.seed,
                    &ledger);
  for (const std::string& word : *words) {
    const auto address = ParseSocketAddress(word);
    if (!address.ok()) return Fail(flags, address.status());
    const auto fd = ListenOn(*address);
    if (!fd.ok()) return Fail(flags, fd.status());
    server.Listen(*fd);
  }
  if (!options.status_socket.empty()) {
    const auto fd = ListenOnUnix(options.status_socket);
    if (!fd.ok()) return Fail(flags, fd.status());
    poller.Add(*fd, EPOLLIN,
               [fd = *fd, &server](uint32_t) { AnswerStatus(fd, server); });
  }
  WatchSignals(poller, server);
  if (options.seconds > 0) {
    poller.After(options.seconds * 1000, [&poller] { poller.Stop(); });
  }
  poller.Run();
  PrintStats(server);
  if (!options.status_socket.empty()) unlink(options.status_socket.c_str());
  if (server.status().ok()) return 0;
  fprintf(stderr, "smtp-blackhole: %s\n", server.status().ToString().c_str());
  return 1;
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  return holdfast::Main(argc, argv);
}
