#include "protocol/smtp_client_commands.h"

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

// Parameter values are xtext (RFC 3461 section 4): no space, no control.
bool IsParameterValue(absl::string_view value) {
  if (value.empty()) return false;
  for (const char c : value)
    if (!absl::ascii_isgraph(c)) return false;
  return true;
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

SmtpExtensions ParseEhloReply(const SmtpReply& reply) {
  SmtpExtensions offered;
  // The first line greets.
  for (size_t i = 1; i < reply.lines.size(); ++i) {
    const absl::string_view line =
        absl::StripTrailingAsciiWhitespace(reply.lines[i]);
    const size_t space = line.find(' ');
    const absl::string_view word = line.substr(0, space);
    if (word == "STARTTLS") offered.starttls = true;
    if (word == "PIPELINING") offered.pipelining = true;
    if (word == "DSN") offered.dsn = true;
    if (word == "8BITMIME") offered.eight_bit_mime = true;
    if (word == "SIZE") {
      offered.size = true;
      if (space == absl::string_view::npos ||
          !absl::SimpleAtoi(line.substr(space + 1), &offered.max_size))
        offered.max_size = 0;
    }
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

void AppendMailCommand(const SmtpTransaction& transaction,
                       const SmtpExtensions& offered, std::string* out) {
  absl::StrAppend(out, "MAIL FROM:<", transaction.sender, ">");
  if (offered.size) absl::StrAppend(out, " SIZE=", transaction.wire_bytes);
  if (offered.eight_bit_mime && transaction.eight_bit)
    absl::StrAppend(out, " BODY=8BITMIME");
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
                       const SmtpExtensions& offered, std::string* out) {
  absl::StrAppend(out, "RCPT TO:<", recipient.path, ">");
  if (offered.dsn) {
    const std::string words = NotifyWords(recipient.dsn_notify);
    if (!words.empty()) absl::StrAppend(out, " NOTIFY=", words);
    if (IsParameterValue(recipient.dsn_orcpt))
      absl::StrAppend(out, " ORCPT=", recipient.dsn_orcpt);
  }
  absl::StrAppend(out, "\r\n");
}

}  // namespace holdfast
