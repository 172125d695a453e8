// `filter`, `listen`, `action` and `match` as text.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "config/print.h"
#include "config/printer.h"

namespace holdfast {
namespace {

// A chain that was written where it is used.
bool IsAnonymous(const Filter& filter) {
  return filter.kind == Filter::Kind::kChain &&
         absl::StartsWith(filter.name, "<dynchain:");
}

}  // namespace

void ConfigPrinter::Negation(bool negated) { Flag("!", negated); }

// Behind its word.
void ConfigPrinter::CriterionArgument(const Criterion& criterion) {
  Flag("regex", criterion.regex);
  if (criterion.table != nullptr) TableArgument(criterion.table);
}

void ConfigPrinter::PlainCriterion(absl::string_view word,
                                   const std::optional<Criterion>& criterion) {
  if (!criterion) return;
  Negation(criterion->negated);
  Word(word);
  CriterionArgument(*criterion);
}

// Processes before those who name them, chains last.
void ConfigPrinter::Filters() {
  for (const auto& [name, processor] : config_.processors) {
    const auto filter = config_.filters.find(name);
    if (filter != config_.filters.end() && filter->second.proc_exec) continue;
    Begin("proc");
    Name(name);
    Program(processor);
    End();
  }
  for (const bool own : {true, false}) {
    for (const auto& [name, filter] : config_.filters) {
      if (filter.kind == Filter::Kind::kProc && filter.proc_exec == own) {
        Proc(filter);
      }
    }
  }
  for (const auto& [name, filter] : config_.filters) {
    if (filter.kind == Filter::Kind::kPhase) Phase(filter);
    if (filter.kind == Filter::Kind::kMilter) Milter(filter);
  }
  for (const auto& [name, filter] : config_.filters) {
    if (filter.kind != Filter::Kind::kChain || IsAnonymous(filter)) continue;
    Begin("filter");
    Name(name);
    Word("chain");
    List(filter.chain);
    End();
  }
}

void ConfigPrinter::Proc(const Filter& filter) {
  Begin("filter");
  Name(filter.name);
  if (!filter.proc_exec) {
    Word("proc");
    Name(filter.proc);
    return End();
  }
  Word("proc-exec");
  Program(config_.processors.at(filter.proc));
  End();
}

void ConfigPrinter::Program(const Processor& processor) {
  const Processor standard;
  Name(processor.command);
  Option("user", processor.user);
  Option("group", processor.group);
  Option("chroot", processor.chroot);
  if (processor.protocol != standard.protocol)
    Option("protocol", processor.protocol);
  Care(processor.care);
}

void ConfigPrinter::Care(const FilterCare& care) {
  Flag("on-failure accept", care.accept_on_failure);
  if (care.timeout == FilterCare().timeout) return;
  Word("timeout");
  Word(DelayText(care.timeout));
}

void ConfigPrinter::Care(const TableCare& care) {
  const TableCare standard;
  if (care.timeout != standard.timeout) {
    Word("timeout");
    Word(DelayText(care.timeout));
  }
  if (care.keep == standard.keep) return;
  Word("keep");
  Word(DelayText(care.keep));
}

void ConfigPrinter::Milter(const Filter& filter) {
  Begin("filter");
  Name(filter.name);
  Word("milter");
  Name(filter.milter);
  Care(filter.care);
  End();
}

void ConfigPrinter::Phase(const Filter& filter) {
  const PhaseFilter& phase = filter.phase;
  Begin("filter");
  Name(filter.name);
  Word("phase");
  Word(phase.phase);
  Word("match");
  PlainCriterion(phase.condition, phase.criterion);
  Word(phase.decision);
  if (phase.decision != "junk" && phase.decision != "bypass") {
    Name(phase.argument);
  }
  End();
}

void ConfigPrinter::FilterReference(const std::string& name) {
  if (name.empty()) return;
  Word("filter");
  const Filter& filter = config_.filters.at(name);
  if (IsAnonymous(filter)) return List(filter.chain);
  Name(name);
}

void ConfigPrinter::SocketListener() {
  const Listener& listener = config_.socket_listener;
  Begin("listen on socket");
  FilterReference(listener.filter);
  Flag("mask-src", listener.mask_src);
  Flag("no-dsn", listener.no_dsn);
  Option("tag", listener.tag);
  End();
}

void ConfigPrinter::Listen(const Listener& listener) {
  Begin("listen on");
  Name(listener.where);
  // Ours first: behind `auth` they would be its table.
  Flag("proxy-v1", listener.proxy == Listener::Proxy::kV1);
  Flag("line-ends normalise",
       listener.line_ends == Listener::LineEnds::kNormalise);
  TableOption("xclient", listener.xclient);
  for (const std::string& extension : listener.no_extensions) {
    Option("no-extension", extension);
  }
  Flag("inet4", listener.family == Listener::Family::kInet4);
  Flag("inet6", listener.family == Listener::Family::kInet6);
  Number("port", listener.port);
  ListenTls(listener);
  Option("hostname", listener.hostname);
  TableOption("hostnames", listener.hostnames);
  TableOption("senders", listener.senders);
  Flag("masquerade", listener.senders_masquerade);
  Flag("mask-src", listener.mask_src);
  Flag("received-auth", listener.received_auth);
  Flag("no-dsn", listener.no_dsn);
  Flag("proxy-v2", listener.proxy == Listener::Proxy::kV2);
  Option("tag", listener.tag);
  FilterReference(listener.filter);
  End();
}

void ConfigPrinter::ListenTls(const Listener& listener) {
  Flag("tls", listener.tls == Listener::Tls::kOffered);
  Flag("tls-require", listener.tls == Listener::Tls::kRequired);
  Flag("smtps", listener.tls == Listener::Tls::kSmtps);
  Flag("verify", listener.tls_verify);
  for (const std::string& pki : listener.pki) {
    Word("pki");
    Name(pki);
  }
  Option("ca", listener.ca);
  Option("ciphers", listener.ciphers);
  Option("protocols", listener.protocols);
  if (listener.auth == Listener::Auth::kNone) return;
  Word(listener.auth == Listener::Auth::kRequired ? "auth" : "auth-optional");
  if (listener.auth_table != nullptr) TableArgument(listener.auth_table);
}

void ConfigPrinter::OneAction(const Action& action) {
  Begin("action");
  Name(action.name);
  if (action.IsLocal()) {
    Local(action);
  } else {
    Relay(action);
  }
  if (action.ttl) {
    Word("ttl");
    Word(DelayText(*action.ttl));
  }
  // The file is read by those only who make reports.
  if (shown_ == nullptr) Option("bounce-text", action.bounce_text);
  Flag("verp", action.verp);
  End();
}

void ConfigPrinter::Local(const Action& action) {
  switch (action.method) {
    case ActionMethod::kMbox:
      Word("mbox");
      break;
    case ActionMethod::kMaildir:
      Word("maildir");
      if (!action.maildir_path.empty()) Name(action.maildir_path);
      Flag("junk", action.maildir_junk);
      break;
    case ActionMethod::kLmtp:
      Word("lmtp");
      Name(action.lmtp);
      Flag("rcpt-to", action.lmtp_rcpt_to);
      break;
    case ActionMethod::kMda:
      Word("mda");
      Name(action.mda_command);
      break;
    case ActionMethod::kExpandOnly:
      Word("expand-only");
      break;
    case ActionMethod::kForwardOnly:
      Word("forward-only");
      break;
    case ActionMethod::kRelay:
      break;
  }
  TableOption("alias", action.alias);
  TableOption("virtual", action.virtual_);
  // Its default has a name that is hard to write.
  if (action.userbase->name() != "<getpwnam>") {
    TableOption("userbase", action.userbase);
  }
  Option("user", action.user);
  Option("wrapper", action.wrapper);
}

void ConfigPrinter::Relay(const Action& action) {
  Word("relay");
  TableOption("host", action.host);
  TableOption("domain", action.domain);
  Flag("backup", action.backup);
  Option("mx", action.backup_mx);
  TableOption("auth", action.auth);
  Option("helo", action.helo);
  TableOption("helo-src", action.helo_src);
  TableOption("src", action.src);
  Option("mail-from", action.mail_from);
  Flag("tls", action.tls != Action::Tls::kOpportunistic);
  Flag("no-verify", action.tls == Action::Tls::kNoVerify);
  Option("pki", action.pki);
  Option("ca", action.ca);
  Option("ciphers", action.ciphers);
  Option("protocols", action.protocols);
  Flag("srs", action.srs);
  FilterReference(action.filter);
}

void ConfigPrinter::OneRule(const Rule& rule) {
  Begin("match");
  Negation(rule.from_negated);
  switch (rule.from) {
    case Rule::From::kLocal:
      Word("from local");
      break;
    case Rule::From::kAny:
      Word("from any");
      break;
    case Rule::From::kSocket:
      Word("from socket");
      break;
    case Rule::From::kSrc:
    case Rule::From::kRdns:
      Word(rule.from == Rule::From::kSrc ? "from src" : "from rdns");
      CriterionArgument(rule.from_table);
      break;
  }
  Negation(rule.for_negated);
  switch (rule.for_) {
    case Rule::For::kLocal:
      Word("for local");
      break;
    case Rule::For::kAny:
      Word("for any");
      break;
    case Rule::For::kDomain:
      Word("for domain");
      CriterionArgument(rule.for_table);
      break;
  }
  PlainCriterion("tag", rule.tag);
  PlainCriterion("helo", rule.helo);
  PlainCriterion("auth", rule.auth);
  PlainCriterion("tls", rule.tls);
  PlainCriterion("mail-from", rule.mail_from);
  PlainCriterion("rcpt-to", rule.rcpt_to);
  if (rule.reject) {
    Word("reject");
  } else {
    Word("action");
    Name(rule.action);
  }
  End();
}

}  // namespace holdfast
