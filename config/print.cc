#include "config/print.h"

#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config/printer.h"
#include "config/values.h"

namespace holdfast {
namespace {

// The longest text that may stand in quotes.
constexpr size_t kMaxQuotedBytes = 8094;

// Made by the parser, not by a line of the file.
bool IsAnonymous(const Table& table) {
  return absl::StartsWith(table.name(), "<dynamic:") && table.is_static() &&
         table.path().empty() && !table.entries().empty();
}

bool IsBuiltin(const Table& table) {
  for (const char* name : {"<anyhost>", "<anydestination>", "<localnames>",
                           "<localhost>", "<getpwnam>"}) {
    if (table.name() == name) return true;
  }
  return false;
}

// The shortest percentage that is read as `fraction`.
std::string PercentText(double fraction) {
  std::string text;
  for (int digits = 0; digits <= std::numeric_limits<double>::max_digits10 + 2;
       ++digits) {
    text = absl::StrFormat("%.*f%%", digits, fraction * 100);
    if (ParsePercent(text) == fraction) break;
  }
  return text;
}

}  // namespace

std::string QuoteForConfig(absl::string_view text) {
  std::string out;
  // As a word a backslash stands for what is behind it.
  if (absl::EndsWith(text, "\\") || text.size() > kMaxQuotedBytes) {
    for (const char c : text) {
      if (c == '\\') out += '\\';
      out += c;
    }
    return out;
  }
  out += '"';
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escaped =
        text[i] == '"' ||
        (i > 0 && text[i - 1] == '\\' && (text[i] == ' ' || text[i] == '\t'));
    if (escaped) out += '\\';
    out += text[i];
  }
  out += '"';
  return out;
}

std::string DelayText(absl::Duration delay) {
  struct Unit {
    int64_t seconds;
    char letter;
  };
  const int64_t seconds = absl::ToInt64Seconds(delay);
  for (const Unit& unit : {Unit{86400, 'd'}, Unit{3600, 'h'}, Unit{60, 'm'}}) {
    if (seconds % unit.seconds == 0) {
      return absl::StrCat(seconds / unit.seconds, std::string(1, unit.letter));
    }
  }
  return absl::StrCat(seconds, "s");
}

std::string ConfigToText(const Config& config) {
  return ConfigPrinter(config, nullptr, true).Run();
}

std::string ConfigToTextWithoutQueueKeys(const Config& config) {
  return ConfigPrinter(config, nullptr, false).Run();
}

std::string ConfigToTextWithoutSecrets(
    const Config& config, const std::function<bool(const Table&)>& shown,
    bool values) {
  return ConfigPrinter(config, shown, false, values).Run();
}

// What others refer to comes first, as the parser wants it.
std::string ConfigPrinter::Run() {
  Globals();
  Queue();
  Smtp();
  // A domain starts from the defaults there are when it is first named.
  for (const auto& [domain, limits] : config_.mta_domain_limits) {
    MtaLine(domain, limits);
  }
  MtaLine("", config_.mta_limits);
  OtherLimits();
  Keys();
  Tables();
  Filters();
  SocketListener();
  for (const Listener& listener : config_.listeners) Listen(listener);
  for (const auto& [name, action] : config_.actions) OneAction(action);
  for (const Rule& rule : config_.rules) OneRule(rule);
  return std::move(out_);
}

void ConfigPrinter::Begin(absl::string_view directive) {
  absl::StrAppend(&out_, directive);
}

void ConfigPrinter::End() { out_ += '\n'; }

void ConfigPrinter::Word(absl::string_view word) {
  absl::StrAppend(&out_, " ", word);
}

void ConfigPrinter::Name(absl::string_view text) {
  absl::StrAppend(&out_, " ", QuoteForConfig(text));
}

void ConfigPrinter::Option(absl::string_view word, absl::string_view text) {
  if (text.empty()) return;
  Word(word);
  Name(text);
}

void ConfigPrinter::Flag(absl::string_view word, bool set) {
  if (set) Word(word);
}

void ConfigPrinter::Number(absl::string_view word, uint64_t number) {
  absl::StrAppend(&out_, " ", word, " ", number);
}

void ConfigPrinter::List(const std::vector<std::string>& names) {
  absl::string_view separator = " { ";
  for (const std::string& name : names) {
    absl::StrAppend(&out_, separator, QuoteForConfig(name));
    separator = ", ";
  }
  out_ += " }";
}

std::string ConfigPrinter::Secret(const std::string& secret) const {
  return shown_ == nullptr ? secret : std::string(secret.size(), 'x');
}

void ConfigPrinter::Entries(const Table& table) {
  if (shown_ != nullptr && !shown_(table)) {
    absl::StrAppend(&out_, table.kind() == Table::Kind::kMap
                               ? " { \"hidden\" = \"hidden\" }"
                               : " { \"hidden\" }");
    return;
  }
  absl::string_view separator = " { ";
  const TableContents& contents = *table.contents();
  for (size_t rank = 0; rank < contents.size(); ++rank) {
    for (const std::string& spelling : contents.Spellings(rank)) {
      absl::StrAppend(&out_, separator, QuoteForConfig(spelling));
      separator = ", ";
      if (table.kind() != Table::Kind::kMap) continue;
      absl::StrAppend(&out_, " = ",
                      values_shown_ ? QuoteForConfig(contents.at(rank).second)
                                    : "\"hidden\"");
    }
  }
  out_ += " }";
}

void ConfigPrinter::TableArgument(const TableRef& table) {
  if (IsAnonymous(*table)) return Entries(*table);
  absl::StrAppend(&out_, " <", QuoteForConfig(table->name()), ">");
}

void ConfigPrinter::TableOption(absl::string_view word, const TableRef& table) {
  if (table == nullptr) return;
  Word(word);
  TableArgument(table);
}

void ConfigPrinter::Globals() {
  if (!config_.spool.empty()) {
    Begin("spool");
    Name(config_.spool);
    End();
  }
  Begin("admd");
  Name(config_.admd);
  End();
  if (!config_.bounce_warn.empty()) {
    Begin("bounce warn-interval");
    absl::string_view separator = " ";
    for (const absl::Duration delay : config_.bounce_warn) {
      absl::StrAppend(&out_, separator, DelayText(delay));
      separator = ", ";
    }
    End();
  }
  for (const auto& [name, command] : config_.wrappers) {
    Begin("mda wrapper");
    Name(name);
    Name(command);
    End();
  }
  const Srs& srs = config_.srs;
  for (const auto& [word, key] :
       {std::pair("srs key", &srs.key),
        std::pair("srs key backup", &srs.backup_key)}) {
    if (key->empty()) continue;
    Begin(word);
    Name(Secret(*key));
    End();
  }
  Begin(absl::StrCat("srs ttl ", srs.ttl_days, "d"));
  End();
}

void ConfigPrinter::Queue() {
  Begin(absl::StrCat("queue ttl ", DelayText(config_.queue_ttl)));
  End();
  Begin(absl::StrCat("queue size ", config_.queue_size));
  End();
  Begin(absl::StrCat("queue min-free \"", PercentText(config_.queue_min_free),
                     "\""));
  End();
  if (config_.queue_history > absl::ZeroDuration()) {
    Begin(absl::StrCat("queue history ", DelayText(config_.queue_history),
                       " size ", config_.queue_history_size));
    End();
  }
  if (config_.hold_doubts) {
    Begin("queue doubt hold");
    End();
  }
  if (config_.queue_compression) {
    Begin("queue compression");
    End();
  }
  if (config_.queue_encryption) {
    Begin("queue encryption");
    QueueKey(config_.queue_key);
    if (config_.queue_previous_key) {
      Word("previous");
      QueueKey(*config_.queue_previous_key);
    }
    End();
  }
}

// "stdin" is a key that is elsewhere.
void ConfigPrinter::QueueKey(const std::string& key) {
  const bool secret = key.size() == kQueueKeyBytes;
  if (!key.empty()) Name(secret && !queue_keys_shown_ ? "stdin" : key);
}

void ConfigPrinter::Smtp() {
  Begin(absl::StrCat("smtp max-message-size ", config_.max_message_size));
  End();
  Begin("smtp sub-addr-delim");
  Name(std::string(1, config_.sub_addr_delim));
  End();
  if (!config_.smtp_ciphers.empty()) {
    Begin("smtp ciphers");
    Name(config_.smtp_ciphers);
    End();
  }
  const SmtpLimits& l = config_.smtp_limits;
  Begin("smtp limit");
  Number("max-rcpt", l.max_rcpt);
  Number("max-mails", l.max_mails);
  Number("max-sessions", l.max_sessions);
  Number("max-sessions-per-source", l.max_sessions_per_source);
  Number("max-sessions-per-network", l.max_sessions_per_network);
  Number("max-connects-per-source", l.max_connects_per_source);
  Number("max-mails-per-source", l.max_mails_per_source);
  Number("max-errors", l.max_errors);
  Number("max-bad-rcpt", l.max_bad_rcpt);
  Number("max-commands", l.max_commands);
  Number("max-auth-failures", l.max_auth_failures);
  Number("command-timeout", l.command_timeout);
  Number("data-timeout", l.data_timeout);
  Number("min-data-rate", l.min_data_rate);
  End();
}

void ConfigPrinter::MtaLine(absl::string_view domain, const MtaLimits& l) {
  Begin("mta limit");
  Option("for domain", domain);
  Flag("inet4", l.family == MtaLimits::Family::kInet4);
  Flag("inet6", l.family == MtaLimits::Family::kInet6);
  Number("max-conn-per-host", l.max_conn_per_host);
  Number("max-conn-per-route", l.max_conn_per_route);
  Number("max-conn-per-source", l.max_conn_per_source);
  Number("max-conn-per-connector", l.max_conn_per_connector);
  Number("max-conn-per-relay", l.max_conn_per_relay);
  Number("max-conn-per-domain", l.max_conn_per_domain);
  Number("conn-delay-host", l.conn_delay_host);
  Number("conn-delay-route", l.conn_delay_route);
  Number("conn-delay-source", l.conn_delay_source);
  Number("conn-delay-connector", l.conn_delay_connector);
  Number("conn-delay-relay", l.conn_delay_relay);
  Number("conn-delay-domain", l.conn_delay_domain);
  Number("reconn-delay-route", l.reconn_delay_route);
  Number("session-mail-max", l.session_mail_max);
  Number("session-transaction-delay", l.session_transaction_delay);
  Number("session-keepalive", l.session_keepalive);
  Number("max-failures-per-session", l.max_failures_per_session);
  Number("task-hiwat", l.task_hiwat);
  Number("task-lowat", l.task_lowat);
  Number("task-release", l.task_release);
  End();
}

void ConfigPrinter::OtherLimits() {
  Begin(absl::StrCat("mta max-deferred ", config_.mta_max_deferred));
  End();
  const MdaLimits& mda = config_.mda_limits;
  Begin("mda limit");
  Number("max-session", mda.max_session);
  Number("max-session-per-user", mda.max_session_per_user);
  Number("task-hiwat", mda.task_hiwat);
  Number("task-lowat", mda.task_lowat);
  Number("task-release", mda.task_release);
  Number("max-command-memory", mda.max_command_memory);
  Number("max-command-descriptors", mda.max_command_descriptors);
  Number("command-timeout", mda.command_timeout);
  End();
  const SchedulerLimits& scheduler = config_.scheduler_limits;
  Begin("scheduler limit");
  Number("max-inflight", scheduler.max_inflight);
  Number("max-evp-batch-size", scheduler.max_evp_batch_size);
  Number("max-msg-batch-size", scheduler.max_msg_batch_size);
  Number("max-schedule", scheduler.max_schedule);
  End();
}

void ConfigPrinter::Keys() {
  for (const auto& [name, pki] : config_.pkis) {
    Begin("pki");
    Name(name);
    Option("cert", pki.cert);
    Option("key", pki.key);
    Option("dhe", pki.dhe == Pki::Dhe::kAuto     ? "auto"
                  : pki.dhe == Pki::Dhe::kLegacy ? "legacy"
                                                 : "");
    End();
  }
  for (const auto& [name, ca] : config_.cas) {
    Begin("ca");
    Name(name);
    Word("cert");
    Name(ca.cert);
    End();
  }
}

void ConfigPrinter::Tables() {
  for (const auto& [name, table] : config_.tables) {
    if (IsAnonymous(*table) || IsBuiltin(*table)) continue;
    Begin("table");
    Name(name);
    const std::string backend =
        table->backend() == "static" ? "file" : table->backend();
    if (!table->path().empty()) {
      Name(absl::StrCat(backend, ":", table->path()));
    } else if (table->entries().empty()) {
      Name(backend);
    } else {
      Entries(*table);
    }
    if (table->is_process()) Care(table->care());
    End();
  }
}

}  // namespace holdfast
