#include "protocol/smtp_client_commands.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "protocol/idna.h"

namespace holdfast {
namespace {

constexpr char kNoSmtpUtf8[] =
    "Next hop does not support internationalized mail (SMTPUTF8)";

// Nine digits are all that BY= may have.
constexpr int64_t kMaxBySeconds = 999'999'999;

// Parameter values are xtext (RFC 3461 section 4): no space, no control; to a
// server with SMTPUTF8 an ORCPT may be UTF-8 (RFC 6533 section 3).
bool IsParameterValue(absl::string_view value, bool utf8 = false) {
  if (value.empty()) return false;
  for (const char c : value)
    if (!absl::ascii_isgraph(static_cast<unsigned char>(c)) &&
        !(utf8 && static_cast<unsigned char>(c) > 127))
      return false;
  return true;
}

// RFC 9422 section 3: "LIMITS RCPTMAX=20 MAILMAX=5"; what is not a positive
// number is no limit.
void ParseLimits(absl::string_view words, PeerExtensions* offered) {
  for (const absl::string_view word :
       absl::StrSplit(words, ' ', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> limit =
        absl::StrSplit(word, absl::MaxSplits('=', 1));
    uint32_t n = 0;
    if (!absl::SimpleAtoi(limit.second, &n)) continue;
    if (limit.first == "MAILMAX") offered->mail_max = n;
    if (limit.first == "RCPTMAX") offered->rcpt_max = n;
    if (limit.first == "RCPTDOMAINMAX") offered->rcpt_domain_max = n;
  }
}

// The path as it goes to this server; it was found to have such a form.
std::string PathFor(const std::string& path, const PeerExtensions& offered) {
  if (offered.smtputf8) return path;
  return PathToAscii(path).value_or(path);
}

// BY= (RFC 2852 section 4).
void AppendBy(const SmtpTransaction::DeliverBy& by, std::string* out) {
  absl::StrAppend(out,
                  " BY=", std::clamp(by.seconds, -kMaxBySeconds, kMaxBySeconds),
                  ";", by.returned ? "R" : "N", by.trace ? "T" : "");
}

std::string NotifyWords(uint8_t notify) {
  struct Word {
    DsnNotify bit;
    const char* text;
  };
  constexpr Word kWords[] = {{kNotifySuccess, "SUCCESS"},
                             {kNotifyFailure, "FAILURE"},
                             {kNotifyDelay, "DELAY"},
                             {kNotifyNever, "NEVER"}};
  std::string words;
  for (const Word& w : kWords)
    if (notify & w.bit)
      absl::StrAppend(&words, words.empty() ? "" : ",", w.text);
  return words;
}

}  // namespace

PeerExtensions ParseEhloReply(const SmtpReply& reply) {
  PeerExtensions offered;
  // The first line greets.
  for (size_t i = 1; i < reply.lines.size(); ++i) {
    const absl::string_view line =
        absl::StripTrailingAsciiWhitespace(reply.lines[i]);
    const size_t space = line.find(' ');
    const absl::string_view word = line.substr(0, space);
    const absl::string_view rest =
        space == absl::string_view::npos ? "" : line.substr(space + 1);
    if (word == "STARTTLS") offered.starttls = true;
    if (word == "PIPELINING") offered.pipelining = true;
    if (word == "DSN") offered.dsn = true;
    if (word == "8BITMIME") offered.eight_bit_mime = true;
    if (word == "SIZE") {
      offered.size = true;
      if (!absl::SimpleAtoi(rest, &offered.max_size)) offered.max_size = 0;
    }
    if (word == "SMTPUTF8") offered.smtputf8 = true;
    if (word == "CHUNKING") offered.chunking = true;
    if (word == "BINARYMIME") offered.binarymime = true;
    if (word == "REQUIRETLS") offered.requiretls = true;
    if (word == "MT-PRIORITY") offered.mt_priority = true;
    if (word == "DELIVERBY") {
      offered.deliver_by = true;
      if (!absl::SimpleAtoi(rest, &offered.min_deliver_by))
        offered.min_deliver_by = 0;
    }
    if (word == "AUTH") {
      offered.auth = true;
      offered.auth_mechanisms = absl::StrSplit(rest, ' ', absl::SkipEmpty());
    }
    if (word == "LIMITS") ParseLimits(rest, &offered);
  }
  return offered;
}

bool IsSafePath(absl::string_view path) {
  bool quoted = false;
  for (size_t i = 0; i < path.size(); ++i) {
    const char c = path[i];
    if (absl::ascii_iscntrl(c)) return false;
    if (c == '"') quoted = !quoted;
    if (quoted && c == '\\') {
      if (++i == path.size() || absl::ascii_iscntrl(path[i])) return false;
    } else if (!quoted && (c == ' ' || c == '<' || c == '>')) {
      return false;
    }
  }
  return !quoted;
}

std::optional<SendObstacle> ObstacleOf(const SmtpTransaction& t,
                                       const PeerExtensions& offered,
                                       bool tls) {
  if ((t.flags & kFlagRequireTls) && !(tls && offered.requiretls))
    return SendObstacle{EnhancedStatus::Make(5, 7, 30),
                        "REQUIRETLS support required"};
  if (t.binary() && !(offered.chunking && offered.binarymime))
    return SendObstacle{{5, 63}, "Next hop does not support BINARYMIME"};
  if ((t.flags & kFlagSmtpUtf8) && t.header_eight_bit && !offered.smtputf8)
    return SendObstacle{{5, 67}, kNoSmtpUtf8};
  if (t.deliver_by && t.deliver_by->returned) {
    if (t.deliver_by->seconds <= 0)
      return SendObstacle{{5, 47}, "Delivery time expired"};
    if (!offered.deliver_by)
      return SendObstacle{{5, 33}, "Next hop does not support DELIVERBY"};
    if (t.deliver_by->seconds < offered.min_deliver_by)
      return SendObstacle{{5, 47}, "Next hop cannot deliver in time"};
  }
  return std::nullopt;
}

std::optional<SendObstacle> ObstacleOf(absl::string_view path,
                                       const PeerExtensions& offered) {
  if (offered.smtputf8 || PathToAscii(path).ok()) return std::nullopt;
  return SendObstacle{{5, 67}, kNoSmtpUtf8};
}

bool NeedsDowngrade(const SmtpTransaction& t, const PeerExtensions& offered) {
  return t.eight_bit && !t.binary() && !offered.eight_bit_mime;
}

bool SendsSmtpUtf8(const SmtpTransaction& t, const PeerExtensions& offered) {
  if (!offered.smtputf8) return false;
  if ((t.flags & kFlagSmtpUtf8) && t.eight_bit) return true;
  for (const SmtpTransaction::Recipient& r : t.recipients)
    if (!IsAscii(r.path)) return true;
  return !IsAscii(t.sender);
}

void AppendMailCommand(const SmtpTransaction& transaction,
                       const PeerExtensions& offered, std::string* out) {
  absl::StrAppend(out, "MAIL FROM:<", PathFor(transaction.sender, offered),
                  ">");
  if (offered.size && !NeedsDowngrade(transaction, offered))
    absl::StrAppend(out, " SIZE=", transaction.wire_bytes);
  if (transaction.binary())
    absl::StrAppend(out, " BODY=BINARYMIME");
  else if (offered.eight_bit_mime && transaction.eight_bit)
    absl::StrAppend(out, " BODY=8BITMIME");
  if (SendsSmtpUtf8(transaction, offered)) absl::StrAppend(out, " SMTPUTF8");
  if (transaction.flags & kFlagRequireTls) absl::StrAppend(out, " REQUIRETLS");
  if (offered.mt_priority && transaction.priority != 0)
    absl::StrAppend(out, " MT-PRIORITY=", transaction.priority);
  if (offered.deliver_by && transaction.deliver_by)
    AppendBy(*transaction.deliver_by, out);
  if (offered.dsn) {
    if (transaction.dsn_ret == DsnReturn::kFull)
      absl::StrAppend(out, " RET=FULL");
    if (transaction.dsn_ret == DsnReturn::kHeaders)
      absl::StrAppend(out, " RET=HDRS");
    if (IsParameterValue(transaction.dsn_envid))
      absl::StrAppend(out, " ENVID=", transaction.dsn_envid);
  }
  absl::StrAppend(out, "\r\n");
}

void AppendRcptCommand(const SmtpTransaction::Recipient& recipient,
                       const PeerExtensions& offered, std::string* out) {
  absl::StrAppend(out, "RCPT TO:<", PathFor(recipient.path, offered), ">");
  if (offered.dsn) {
    const std::string words = NotifyWords(recipient.dsn_notify);
    if (!words.empty()) absl::StrAppend(out, " NOTIFY=", words);
    if (IsParameterValue(recipient.dsn_orcpt, offered.smtputf8))
      absl::StrAppend(out, " ORCPT=", recipient.dsn_orcpt);
  }
  absl::StrAppend(out, "\r\n");
}

}  // namespace holdfast
