// Directives that set one thing for the whole server (reference part 1,
// sections 1.5 and 1.6).
#include <algorithm>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "config/directives.h"
#include "config/values.h"

namespace holdfast {
namespace {

constexpr size_t kMaxBounceWarnings = 4;
// Below this a store has no room beside the reserve kept for removals.
constexpr uint64_t kMinQueueSize = 20 << 20;
constexpr uint64_t kMinHistorySize = 1 << 20;
// With less not even a shell would run.
constexpr uint64_t kMinCommandMemory = 16 << 20;
constexpr uint32_t kMinCommandDescriptors = 16;

bool IsPrintable(char c) {
  return absl::ascii_isprint(static_cast<unsigned char>(c));
}

// The reference stores counts unsigned and never checks them: what is
// negative is without limit there, and here.
uint32_t Count(int64_t value) {
  constexpr int64_t kMax = std::numeric_limits<uint32_t>::max();
  return static_cast<uint32_t>(value < 0 || value > kMax ? kMax : value);
}

}  // namespace

struct DirectiveParser::LimitKey {
  absl::string_view name;
  uint32_t* value;
  uint64_t* size = nullptr;  // of one that has a size instead
};

bool DirectiveParser::SetLimit(const std::vector<LimitKey>& keys,
                               absl::string_view what, const std::string& key,
                               int64_t value) {
  for (const LimitKey& known : keys) {
    if (known.name != key || known.value == nullptr) continue;
    *known.value = Count(value);
    return true;
  }
  std::vector<std::string> names;
  for (const LimitKey& known : keys) names.push_back(std::string(known.name));
  return FailWithHint(absl::StrCat("invalid ", what, " limit keyword: ", key),
                      key, names);
}

// KEY N ... or KEY SIZE ...
bool DirectiveParser::ParseLimits(const std::vector<LimitKey>& keys,
                                  absl::string_view what) {
  while (PeekString()) {
    const std::string key = Take().text;
    const auto size =
        std::find_if(keys.begin(), keys.end(), [&key](const LimitKey& known) {
          return known.size != nullptr && known.name == key;
        });
    if (size != keys.end()) {
      if (!ExpectSize("invalid size", size->size)) return false;
      continue;
    }
    int64_t value = 0;
    if (!ExpectNumber(&value)) return false;
    if (!SetLimit(keys, what, key, value)) return false;
  }
  return true;
}

bool DirectiveParser::ParseAdmd() {
  std::string name;
  if (!ExpectString(&name)) return false;
  for (const char c : name) {
    if (!IsPrintable(c)) return Fail("not a valid admd");
  }
  config_->admd = name;
  return true;
}

bool DirectiveParser::ParseBounce() {
  if (!ExpectKeyword("warn-interval")) return false;
  config_->bounce_warn.clear();
  do {
    absl::Duration delay;
    if (!ExpectDelay("invalid bounce delay", &delay)) return false;
    if (config_->bounce_warn.size() < kMaxBounceWarnings) {
      config_->bounce_warn.push_back(delay);
    }
  } while (TakeChar(','));
  return true;
}

bool DirectiveParser::ParseMda() {
  if (TakeKeyword("wrapper")) {
    std::string name;
    std::string command;
    if (!ExpectString(&name) || !ExpectString(&command)) return false;
    if (!config_->wrappers.emplace(name, command).second) {
      return Fail(
          absl::StrCat("mda wrapper already declared with that name: ", name));
    }
    return true;
  }
  if (!ExpectKeyword("limit")) return false;
  MdaLimits& limits = config_->mda_limits;
  // "scheduler" is the reference's word here.
  if (!ParseLimits(
          {{"max-session", &limits.max_session},
           {"max-session-per-user", &limits.max_session_per_user},
           {"task-hiwat", &limits.task_hiwat},
           {"task-lowat", &limits.task_lowat},
           {"task-release", &limits.task_release},
           // Ours.
           {"max-command-memory", nullptr, &limits.max_command_memory},
           {"max-command-descriptors", &limits.max_command_descriptors},
           {"command-timeout", &limits.command_timeout}},
          "scheduler")) {
    return false;
  }
  if (limits.max_command_memory != 0 &&
      limits.max_command_memory < kMinCommandMemory) {
    limits.max_command_memory = kMinCommandMemory;
    return Fail(absl::StrCat("max-command-memory must be at least ",
                             kMinCommandMemory >> 20, "M"));
  }
  if (limits.max_command_descriptors != 0 &&
      limits.max_command_descriptors < kMinCommandDescriptors) {
    limits.max_command_descriptors = kMinCommandDescriptors;
    return Fail(absl::StrCat("max-command-descriptors must be at least ",
                             kMinCommandDescriptors));
  }
  return true;
}

bool DirectiveParser::ParseMta() {
  if (TakeKeyword("max-deferred")) {
    int64_t value = 0;
    if (!ExpectNumber(&value)) return false;
    config_->mta_max_deferred = Count(value);
    return true;
  }
  if (!ExpectKeyword("limit")) return false;
  if (!TakeKeyword("for")) return ParseMtaLimits(&config_->mta_limits);
  std::string domain;
  if (!ExpectKeyword("domain") || !ExpectString(&domain)) return false;
  // A domain begins with what the default is when it is first named.
  const auto [limits, added] = config_->mta_domain_limits.try_emplace(
      absl::AsciiStrToLower(domain), config_->mta_limits);
  return ParseMtaLimits(&limits->second);
}

bool DirectiveParser::ParseMtaLimits(MtaLimits* l) {
  const std::vector<LimitKey> keys = {
      {"max-conn-per-host", &l->max_conn_per_host},
      {"max-conn-per-route", &l->max_conn_per_route},
      {"max-conn-per-source", &l->max_conn_per_source},
      {"max-conn-per-connector", &l->max_conn_per_connector},
      {"max-conn-per-relay", &l->max_conn_per_relay},
      {"max-conn-per-domain", &l->max_conn_per_domain},
      {"conn-delay-host", &l->conn_delay_host},
      {"conn-delay-route", &l->conn_delay_route},
      {"conn-delay-source", &l->conn_delay_source},
      {"conn-delay-connector", &l->conn_delay_connector},
      {"conn-delay-relay", &l->conn_delay_relay},
      {"conn-delay-domain", &l->conn_delay_domain},
      {"reconn-delay-route", &l->reconn_delay_route},
      {"session-mail-max", &l->session_mail_max},
      {"session-transaction-delay", &l->session_transaction_delay},
      {"session-keepalive", &l->session_keepalive},
      {"max-failures-per-session", &l->max_failures_per_session},
      {"task-hiwat", &l->task_hiwat},
      {"task-lowat", &l->task_lowat},
      {"task-release", &l->task_release},
  };
  while (true) {
    if (TakeKeyword("inet4")) {
      l->family = MtaLimits::Family::kInet4;
      continue;
    }
    if (TakeKeyword("inet6")) {
      l->family = MtaLimits::Family::kInet6;
      continue;
    }
    if (!PeekString()) return true;
    const Token key = Take();
    if (key.IsBareWord("reference") && Peek().kind != Token::Kind::kNumber) {
      const MtaLimits::Family family = l->family;
      *l = MtaLimits::Reference();
      l->family = family;
      continue;
    }
    int64_t value = 0;
    if (!ExpectNumber(&value)) return false;
    if (!SetLimit(keys, "mta", key.text, value)) return false;
  }
}

bool DirectiveParser::ParseQueue() {
  if (TakeKeyword("compression")) {
    config_->queue_compression = true;
    return true;
  }
  if (TakeKeyword("encryption")) return ParseQueueEncryption();
  if (TakeKeyword("ttl")) {
    return ExpectDelay("invalid ttl delay", &config_->queue_ttl);
  }
  return ParseQueueOfOurs();
}

bool DirectiveParser::ParseQueueEncryption() {
  config_->queue_encryption = true;
  config_->queue_previous_key.reset();
  bool previous = TakeWord("previous");
  config_->queue_key = !previous && PeekString() ? Take().text : "";
  if (config_->queue_key != kNoQueueKey && !CheckQueueKey(config_->queue_key))
    return false;
  if (!previous && !TakeWord("previous")) return true;
  config_->queue_previous_key = PeekString() ? Take().text : "";
  return CheckQueueKey(*config_->queue_previous_key);
}

bool DirectiveParser::CheckQueueKey(const std::string& key) {
  if (IsAskedQueueKey(key) || key.size() == kQueueKeyBytes) return true;
  FailPlain("crypto_setup:invalid key for queue encryption");
  HintPosition();
  Hint("a key has 32 characters");
  return false;
}

bool DirectiveParser::ParseQueueOfOurs() {
  if (TakeWord("size")) {
    if (!ExpectSize("invalid queue size", &config_->queue_size)) return false;
    if (config_->queue_size < kMinQueueSize) {
      return Fail(absl::StrCat("queue size must be at least ",
                               kMinQueueSize >> 20, "M"));
    }
    return true;
  }
  if (TakeWord("history")) return ParseQueueHistory();
  if (TakeWord("doubt")) {
    if (TakeWord("hold")) {
      config_->hold_doubts = true;
      return true;
    }
    if (!TakeWord("retry")) return SyntaxError();
    config_->hold_doubts = false;
    return true;
  }
  if (!TakeWord("min-free")) return SyntaxError();
  std::string text;
  if (!ExpectString(&text)) return false;
  const std::optional<double> fraction = ParsePercent(text);
  if (!fraction) return Fail(absl::StrCat("invalid queue min-free: ", text));
  config_->queue_min_free = *fraction;
  return true;
}

bool DirectiveParser::ParseQueueHistory() {
  if (!ExpectDelay("invalid queue history delay", &config_->queue_history)) {
    return false;
  }
  if (!TakeWord("size")) return true;
  if (!ExpectSize("invalid queue history size", &config_->queue_history_size)) {
    return false;
  }
  if (config_->queue_history_size < kMinHistorySize) {
    return Fail(absl::StrCat("queue history size must be at least ",
                             kMinHistorySize >> 20, "M"));
  }
  return true;
}

bool DirectiveParser::ParseScheduler() {
  if (!ExpectKeyword("limit")) return false;
  SchedulerLimits& limits = config_->scheduler_limits;
  return ParseLimits({{"max-inflight", &limits.max_inflight},
                      {"max-evp-batch-size", &limits.max_evp_batch_size},
                      {"max-msg-batch-size", &limits.max_msg_batch_size},
                      {"max-schedule", &limits.max_schedule}},
                     "scheduler");
}

bool DirectiveParser::ParseSmtpLimits(SmtpLimits* l) {
  return ParseLimits(
      {{"max-rcpt", &l->max_rcpt},
       {"max-mails", &l->max_mails},
       // Ours.
       {"max-sessions", &l->max_sessions},
       {"max-sessions-per-source", &l->max_sessions_per_source},
       {"max-sessions-per-network", &l->max_sessions_per_network},
       {"max-connects-per-source", &l->max_connects_per_source},
       {"max-mails-per-source", &l->max_mails_per_source},
       {"max-errors", &l->max_errors},
       {"max-bad-rcpt", &l->max_bad_rcpt},
       {"max-commands", &l->max_commands},
       {"max-auth-failures", &l->max_auth_failures},
       {"command-timeout", &l->command_timeout},
       {"data-timeout", &l->data_timeout},
       {"min-data-rate", &l->min_data_rate}},
      "session");
}

bool DirectiveParser::ParseSmtp() {
  if (TakeKeyword("limit")) {
    return ParseSmtpLimits(&config_->smtp_limits);
  }
  if (TakeKeyword("max-message-size")) {
    return ExpectSize("invalid size", &config_->max_message_size);
  }
  std::string text;
  if (TakeKeyword("ciphers")) return ExpectString(&config_->smtp_ciphers);
  if (!ExpectKeyword("sub-addr-delim") || !ExpectString(&text)) return false;
  if (text.size() != 1) {
    return Fail("subaddressing-delimiter must be one character");
  }
  if (!IsPrintable(text[0]) || text[0] == ' ' || text[0] == '@') {
    return Fail("sub-addr-delim uses invalid character");
  }
  config_->sub_addr_delim = text[0];
  return true;
}

}  // namespace holdfast
