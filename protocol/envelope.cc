#include "protocol/envelope.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "protocol/attempts.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

void AddLine(absl::string_view field, absl::string_view value,
             std::string* out) {
  if (value.empty()) return;
  absl::StrAppend(out, field, ": ", value, "\n");
}

void AddNumber(absl::string_view field, int64_t value, std::string* out) {
  AddLine(field, absl::StrCat(value), out);
}

// The loader of the reference knows these flags only; ours (held, suspended,
// in doubt) are shown by `show queue`.
std::string FlagWords(uint32_t flags) {
  std::vector<absl::string_view> words;
  if (flags & kFlagAuthenticated) words.push_back("authenticated");
  if (flags & kFlagBounce) words.push_back("bounce");
  if (flags & kFlagInternal) words.push_back("internal");
  return absl::StrJoin(words, " ");
}

// What the reference does not have; the ordinary ones (8BITMIME, TLS) are not
// shown, lest every envelope look different from the reference's.
std::string ExtensionWords(uint32_t flags) {
  std::vector<absl::string_view> words;
  if (flags & kFlagRequireTls) words.push_back("requiretls");
  if (flags & kFlagSmtpUtf8) words.push_back("smtputf8");
  if (flags & kFlagBinaryMime) words.push_back("binarymime");
  return absl::StrJoin(words, " ");
}

// As in BY= (RFC 2852 section 4), but with the time instead of the seconds.
std::string DeliverByText(const Envelope& e) {
  if (e.deliver_by == absl::UnixEpoch()) return "";
  return absl::StrCat(absl::ToUnixSeconds(e.deliver_by), ";",
                      e.flags & kFlagDeliverByReturn ? "R" : "N",
                      e.deliver_by_trace ? "T" : "");
}

// The words of the log line about a delivery.
std::string AttemptText(const Attempt& a) {
  std::string text = absl::StrFormat(
      "%d took=%.3fs result=%s", absl::ToUnixSeconds(a.began),
      absl::ToDoubleSeconds(a.took), AttemptResultWord(a.result));
  const auto add = [&text](absl::string_view name, absl::string_view value) {
    if (value.empty()) return;
    absl::StrAppend(&text, " ", name, "=\"", VisEncode(value), "\"");
  };
  add("source", a.source);
  add("relay", a.relay);
  add("tls", a.tls);
  add("stat", a.answer);
  return text;
}

absl::string_view ReturnWord(DsnReturn ret) {
  switch (ret) {
    case DsnReturn::kUnset:
      return "";
    case DsnReturn::kFull:
      return "FULL";
    case DsnReturn::kHeaders:
      return "HDRS";
  }
  return "";
}

}  // namespace

std::string EnvelopeToText(const Envelope& e) {
  std::string out;
  AddLine("version", "3", &out);
  AddLine("dispatcher", e.action, &out);
  AddLine("tag", e.tag, &out);
  AddLine("type", e.kind == DeliveryKind::kMda ? "mda" : "mta", &out);
  AddLine("smtpname", e.smtpname, &out);
  AddLine("helo", e.helo, &out);
  AddLine("hostname", e.hostname, &out);
  AddLine("username", e.username, &out);
  AddLine("errorline", VisEncode(e.error_line), &out);
  AddLine("sockaddr", e.sockaddr, &out);
  AddLine("sender", e.sender.ToString(), &out);
  AddLine("rcpt", e.rcpt.ToString(), &out);
  AddLine("dest", e.dest.ToString(), &out);
  AddNumber("ctime", absl::ToUnixSeconds(e.created), &out);
  AddNumber("last-try", absl::ToUnixSeconds(e.last_try), &out);
  AddNumber("last-bounce", absl::ToUnixSeconds(e.last_bounce), &out);
  AddNumber("ttl", absl::ToInt64Seconds(e.expires - e.created), &out);
  AddNumber("retry", e.retry, &out);
  AddLine("flags", FlagWords(e.flags), &out);
  AddNumber("dsn-notify", e.dsn_notify, &out);
  AddLine("dsn-ret", ReturnWord(e.dsn_ret), &out);
  AddLine("dsn-envid", e.dsn_envid, &out);
  AddLine("dsn-orcpt", e.dsn_orcpt, &out);
  if (e.status.klass != 0) {
    AddNumber("esc-class", e.status.klass, &out);
    AddNumber("esc-code", e.status.code, &out);
  }
  if (e.kind == DeliveryKind::kMda) {
    AddLine("mda-exec", e.mda_exec, &out);
    AddLine("mda-subaddress", e.mda_subaddress, &out);
    AddLine("mda-user", e.mda_user, &out);
  }
  AddLine("extensions", ExtensionWords(e.flags), &out);
  if (e.priority != 0) AddNumber("mt-priority", e.priority, &out);
  if (e.hold_until != absl::UnixEpoch())
    AddNumber("hold-until", absl::ToUnixSeconds(e.hold_until), &out);
  AddLine("deliver-by", DeliverByText(e), &out);
  for (const Attempt& attempt : e.attempts)
    AddLine("attempt", AttemptText(attempt), &out);
  return out;
}

}  // namespace holdfast
