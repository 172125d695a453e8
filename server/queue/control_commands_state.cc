// show status, show stats, show ledger; pause and resume mda, mta, smtp; log,
// trace, untrace, profile, unprofile.
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "protocol/mail_date.h"
#include "protocol/vis.h"
#include "server/log/log.h"
#include "server/queue/control_command.h"
#include "server/queue/control_read.h"
#include "server/queue/profile.h"
#include "server/queue/router.h"
#include "server/queue/trace_words.h"
#include "storage/ledger_text.h"

namespace holdfast {
namespace {

std::shared_ptr<ControlCommand> Succeeded(ControlOutput* output, bool ok) {
  ControlDone done;
  done.ok = ok;
  return MakeAnswer(output, ok ? "command succeeded\n" : "command failed\n",
                    done);
}

std::string StatusText(QueueServices* services) {
  auto word = [](bool paused) { return paused ? "paused" : "running"; };
  return absl::StrCat("MDA ", word(services->IsPaused(DeliveryKind::kMda)),
                      "\nMTA ", word(services->IsPaused(DeliveryKind::kMta)),
                      "\nSMTP ", word(services->IsSmtpPaused()), "\n");
}

// The reference's keys (part 2, section 5.5), then ours of the store.  A key
// that is missing means 0.
std::string StatsText(const QueueCounters& c, const RouterCounts& mta,
                      const StoreStats& s, absl::Time now) {
  const std::map<std::string, uint64_t> values = {
      {"bounce.envelope", s.reports},
      {"bounce.message", c.reports_at_work},
      {"bounce.session", c.reports_at_work},
      {"control.session", c.control_sessions},
      {"mda.envelope", c.mda_envelopes},
      {"mda.pending", c.mda_envelopes - c.mda_running},
      {"mda.running", c.mda_running},
      {"mda.user", c.mda_users},
      {"mta.connector", mta.connectors},
      {"mta.domain", mta.domains},
      {"mta.envelope", mta.envelopes},
      {"mta.host", mta.hosts},
      {"mta.relay", mta.relays},
      {"mta.route", mta.routes},
      {"mta.session", mta.sessions},
      {"mta.source", mta.sources},
      {"mta.task", mta.tasks},
      {"mta.task.running", mta.running},
      {"queue.bounce", c.bounces},
      {"scheduler.delivery.loop", c.loop},
      {"scheduler.delivery.ok", c.ok},
      {"scheduler.delivery.permfail", c.permfail},
      {"scheduler.delivery.tempfail", c.tempfail},
      {"scheduler.envelope", s.envelopes},
      {"scheduler.envelope.expired", c.expired},
      {"scheduler.envelope.incoming", s.incoming},
      {"scheduler.envelope.inflight", c.inflight_now},
      {"scheduler.envelope.removed", c.removed},
      {"scheduler.envelope.updated", c.updated},
      {"scheduler.ramqueue.envelope", s.envelopes},
      {"scheduler.ramqueue.message", s.messages},
      {"smtp.limit.auth_failures", c.sessions.auth_failures},
      {"smtp.limit.bad_rcpt", c.sessions.bad_recipients},
      {"smtp.limit.commands", c.sessions.commands},
      {"smtp.limit.connects_per_source", c.sessions.refused_connects},
      {"smtp.limit.data_rate", c.sessions.slow_messages},
      {"smtp.limit.errors", c.sessions.errors},
      {"smtp.limit.mails", c.sessions.messages},
      {"smtp.limit.mails_per_source", c.sessions.refused_mails},
      {"smtp.limit.message_size", c.sessions.message_size},
      {"smtp.limit.rcpt", c.sessions.recipients},
      {"smtp.limit.sessions", c.sessions.refused_sessions},
      {"smtp.limit.sessions_per_network", c.sessions.refused_by_network},
      {"smtp.limit.sessions_per_source", c.sessions.refused_by_source},
      {"smtp.limit.timeout", c.sessions.timeouts},
      {"smtp.session", c.sessions.now},
      {"smtp.session.inet4", c.sessions.inet4},
      {"smtp.session.inet6", c.sessions.inet6},
      {"smtp.session.local", c.sessions.local},
      {"smtp.smtps", c.sessions.smtps},
      {"smtp.tls", c.sessions.tls},
      {"store.aside", s.aside},
      {"store.claims", s.claims},
      {"store.commits", s.commits},
      {"store.destinations", s.destinations},
      {"store.free_bytes", s.free_bytes},
      {"store.garbage", s.garbage},
      {"store.history", s.history},
      {"store.history_bytes", s.history_bytes},
      {"store.last_group", s.last_group},
      {"store.messages", s.messages},
      {"store.reports", s.reports},
      {"store.size_limit", s.size_limit},
      {"store.used_bytes", s.used_bytes},
  };
  std::string text;
  for (const auto& [key, value] : values)
    if (value != 0) absl::StrAppend(&text, key, "=", value, "\n");
  const absl::Duration up = now - c.started;
  absl::StrAppend(&text, "uptime=", absl::ToInt64Seconds(up),
                  "\nuptime.human=", FormatShortDuration(up), "\n");
  return text;
}

// Shows something of the store's counters.
class ShowCounters : public ControlCommand,
                     public std::enable_shared_from_this<ShowCounters> {
 public:
  ShowCounters(QueueServices* services, ControlOutput* output, bool ledger)
      : services_(services), output_(output), ledger_(ledger) {}

  void OnCredit() override {
    if (ended_) return output_->Done(done_);
    ended_ = true;
    using Both = std::pair<Ledger, StoreStats>;
    ReadForCommand(
        services_, weak_from_this(),
        [](const QueueView& view) {
          return Both(view.ReadLedger(), view.Stats());
        },
        [](ShowCounters& self, absl::StatusOr<Both> read) {
          if (!read.ok()) {
            self.done_.ok = false;
            self.done_.error = std::string(read.status().message());
            return self.output_->Done(self.done_);
          }
          self.output_->Text(self.ledger_
                                 ? LedgerText(read->first)
                                 : StatsText(self.services_->Counters(),
                                             self.services_->router()->Counts(),
                                             read->second,
                                             self.services_->loop()->Now()));
        });
  }

 private:
  QueueServices* const services_;
  ControlOutput* const output_;
  const bool ledger_;
  ControlDone done_;
  bool ended_ = false;
};

// pause|resume mda|mta|smtp; null if it is something else.
std::shared_ptr<ControlCommand> SwitchDelivery(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output) {
  const bool pause = words[0] == "pause";
  if (!pause && words[0] != "resume") return nullptr;
  const std::string& what = words[1];
  bool changed = false;
  if (what == "smtp") {
    changed = services->SetSmtpPaused(pause);
  } else if (what == "mda" || what == "mta") {
    changed = services->SetPaused(
        what == "mda" ? DeliveryKind::kMda : DeliveryKind::kMta, pause);
  } else {
    return nullptr;
  }
  if (changed) LogInfo("info: %s %s", what, pause ? "paused" : "resumed");
  return Succeeded(output, changed);
}

// profile, unprofile imsg|queue; null if it is something else.
std::shared_ptr<ControlCommand> SwitchProfile(
    const std::vector<std::string>& words, ControlOutput* output) {
  if (words[0] != "profile" && words[0] != "unprofile") return nullptr;
  if (SetProfiled(words[1], words[0] == "profile"))
    return Succeeded(output, true);
  return MakeRefusal(
      output, absl::StrCat("invalid profile keyword: ", VisEncode(words[1])));
}

// log brief|verbose, trace SUBSYSTEM, untrace SUBSYSTEM; null if it is
// something else.
std::shared_ptr<ControlCommand> SetLogging(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output) {
  TraceWords& traced = TraceWordsOfProcess();
  const std::string& what = words[1];
  if (words[0] == "log" && (what == "brief" || what == "verbose")) {
    traced.SetVerbose(what == "verbose");
  } else if (words[0] != "trace" && words[0] != "untrace") {
    return nullptr;
  } else if (!TraceWords::IsKnown(what)) {
    return MakeRefusal(
        output, absl::StrCat("invalid trace keyword: ", VisEncode(what)));
  } else if (words[0] == "trace") {
    traced.Trace(what);
  } else {
    traced.Untrace(what);
  }
  services->SetVerboseEverywhere(traced.verbose());
  return Succeeded(output, true);
}

}  // namespace

std::shared_ptr<ControlCommand> MakeStateCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output) {
  if (words.size() != 2) return nullptr;
  if (words[0] == "show") {
    if (words[1] == "status")
      return MakeAnswer(output, StatusText(services), {});
    if (words[1] == "stats" || words[1] == "ledger")
      return std::make_shared<ShowCounters>(services, output,
                                            words[1] == "ledger");
    return nullptr;
  }
  if (auto command = SetLogging(words, services, output)) return command;
  if (auto command = SwitchProfile(words, output)) return command;
  return SwitchDelivery(words, services, output);
}

}  // namespace holdfast
