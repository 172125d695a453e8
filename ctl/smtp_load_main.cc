// smtp-load: sends numbered messages to an SMTP server and keeps a ledger of
// what was acknowledged.  `smtp-load --help` lists the options; the statistics
// are one line of JSON on standard output.
//
// Exit: 0 every message was acknowledged for every recipient; 1 not; 2 usage.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "ctl/load/flags.h"
#include "ctl/load/ledger.h"
#include "ctl/load/load_plan.h"
#include "ctl/load/load_run.h"
#include "ctl/load/poller.h"
#include "ctl/load/socket_address.h"

namespace holdfast {
namespace {

constexpr int kUsageError = 2;

int Usage(const Flags& flags, const absl::Status& error) {
  fprintf(stderr, "smtp-load: %s\n%s", error.ToString().c_str(),
          flags.Help().c_str());
  return kUsageError;
}

void AddPlanFlags(Flags& flags, LoadPlan& plan, int64_t& domains,
                  std::string& domain, std::string& users) {
  flags.Text("run", &plan.run, "name of the run, first part of X-Load-Id");
  flags.Number("first", &plan.first, "number of the first message");
  flags.Number("messages", &plan.messages, "how many");
  flags.Number("connections", &plan.connections, "at a time");
  flags.Number("per-connection", &plan.per_connection,
               "messages on each; 0: no limit");
  flags.Number("size", &plan.size, "bytes of a body");
  flags.Number("bodies", &plan.bodies, "different bodies");
  flags.Number("recipients", &plan.recipients, "of each message");
  flags.Text("domain", &domain, "of the recipients; several with commas");
  flags.Number("domains", &domains,
               "spread over d0.DOMAIN, d1.DOMAIN ...; 0: DOMAIN itself");
  flags.Text("users", &users, "local parts, with commas, before u<k>");
  flags.Text("from", &plan.sender, "envelope sender");
  flags.Text("helo", &plan.helo, "name in EHLO");
  flags.Switch("pipelining", &plan.pipelining, "where the server offers it");
  flags.Number("bdat", &plan.bdat, "bytes of a BDAT chunk; 0: DATA");
  flags.Number("rate", &plan.rate, "messages a second; 0: no limit");
  flags.Number("seconds", &plan.seconds, "limit of the whole run");
  flags.Number("reply-seconds", &plan.reply_seconds, "limit of an answer");
  flags.Switch("reconnect", &plan.reconnect, "go on while the server is down");
}

absl::Status Validate(const LoadPlan& plan) {
  if (plan.connections < 1 || plan.connections > 50000 || plan.messages < 1 ||
      plan.recipients < 1 || plan.recipients > 100000 || plan.bodies < 1 ||
      plan.bodies * plan.size > int64_t{1} << 30) {
    return absl::InvalidArgumentError("a number is out of range");
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  LoadPlan plan;
  LedgerWriter::Options ledger_options;
  int64_t domains = 0;
  std::string domain = plan.domains[0];
  std::string users;
  bool help = false;
  plan.run = absl::StrCat("r", getpid());
  Flags flags("smtp-load [options] ADDRESS:PORT");
  AddPlanFlags(flags, plan, domains, domain, users);
  flags.Text("ledger", &ledger_options.path, "file to append to");
  flags.Switch("ledger-sync", &ledger_options.sync, "write it with O_DSYNC");
  flags.Text("serial-device", &ledger_options.serial_device,
             "device that gets the last serial with direct I/O");
  flags.Switch("help", &help, "this text");

  const auto words = flags.Parse(argc, argv);
  if (!words.ok()) return Usage(flags, words.status());
  if (help) {
    fputs(flags.Help().c_str(), stdout);
    return 0;
  }
  if (words->size() != 1) {
    return Usage(flags, absl::InvalidArgumentError("which server?"));
  }
  const auto server = ParseSocketAddress((*words)[0]);
  if (!server.ok()) return Usage(flags, server.status());
  plan.domains = absl::StrSplit(domain, ',', absl::SkipEmpty());
  if (domains > 0) {
    plan.domains.clear();
    for (int64_t i = 0; i < domains; ++i) {
      plan.domains.push_back(absl::StrCat("d", i, ".", domain));
    }
  }
  plan.users = absl::StrSplit(users, ',', absl::SkipEmpty());
  absl::Status valid = Validate(plan);
  if (valid.ok() && plan.domains.empty()) {
    valid = absl::InvalidArgumentError("no domain");
  }
  if (!valid.ok()) return Usage(flags, valid);

  LedgerWriter ledger;
  const absl::Status opened = ledger.Open(ledger_options);
  if (!opened.ok()) return Usage(flags, opened);
  Poller poller;
  LoadRun run(&poller, plan, *server, &ledger);
  run.Start();
  poller.Run();
  printf("%s\n", run.StatsJson().c_str());
  if (!run.status().ok()) {
    fprintf(stderr, "smtp-load: %s\n", run.status().ToString().c_str());
  }
  return run.complete() ? 0 : 1;
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  return holdfast::Main(argc, argv);
}
