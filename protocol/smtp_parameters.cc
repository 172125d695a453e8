#include "protocol/smtp_parameters.h"

#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "protocol/xtext.h"

namespace holdfast {
namespace {

// "NAME" or "NAME=value".
struct Parameter {
  absl::string_view whole;
  absl::string_view name;
  absl::string_view value;
  bool has_value = false;

  bool Is(absl::string_view wanted) const {
    return has_value && absl::EqualsIgnoreCase(name, wanted);
  }
  // One that stands alone.
  bool IsFlag(absl::string_view wanted) const {
    return absl::EqualsIgnoreCase(name, wanted);
  }
};

Parameter Split(absl::string_view whole) {
  const size_t equals = whole.find('=');
  if (equals == whole.npos) return {whole, whole, {}, false};
  return {whole, whole.substr(0, equals), whole.substr(equals + 1), true};
}

bool AreDigits(absl::string_view text, size_t most) {
  if (text.empty() || text.size() > most) return false;
  for (const char c : text) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) return false;
  }
  return true;
}

using Refusal = std::optional<Reply>;

Refusal Invalid(absl::string_view name) {
  return replies::InvalidArguments(absl::StrCat("Invalid ", name));
}

// ---- MAIL

// RFC 1870 section 3: at most 20 digits.
Refusal ReadSize(const Parameter& parameter, MailParameters* out) {
  if (!AreDigits(parameter.value, 20)) return Invalid("SIZE");
  uint64_t size = 0;
  if (!absl::SimpleAtoi(parameter.value, &size))
    size = std::numeric_limits<uint64_t>::max();
  out->size = size;
  return std::nullopt;
}

// nullopt: none that is offered.
std::optional<MailParameters::Body> ParseBody(absl::string_view value,
                                              const SmtpExtensions& offered) {
  using Body = MailParameters::Body;
  if (offered.eight_bit_mime && absl::EqualsIgnoreCase(value, "7BIT"))
    return Body::k7Bit;
  if (offered.eight_bit_mime && absl::EqualsIgnoreCase(value, "8BITMIME"))
    return Body::k8BitMime;
  if (offered.binarymime && absl::EqualsIgnoreCase(value, "BINARYMIME"))
    return Body::kBinaryMime;
  return std::nullopt;
}

// RFC 4954 section 5: "<>" or an address.  Who may be believed is nobody, so
// it is only checked.
Refusal ReadAuth(const Parameter& parameter, MailParameters* out) {
  const std::optional<std::string> decoded = DecodeXtext(parameter.value);
  if (!decoded || decoded->empty()) return Invalid("AUTH");
  out->auth = std::string(parameter.value);
  return std::nullopt;
}

Refusal ReadRet(const Parameter& parameter, MailParameters* out) {
  if (absl::EqualsIgnoreCase(parameter.value, "HDRS")) {
    out->dsn_ret = DsnReturn::kHeaders;
  } else if (absl::EqualsIgnoreCase(parameter.value, "FULL")) {
    out->dsn_ret = DsnReturn::kFull;
  } else {
    return Invalid("RET");
  }
  return std::nullopt;
}

Refusal ReadEnvid(const Parameter& parameter, MailParameters* out) {
  if (parameter.value.size() > kMaxEnvidBytes)
    return replies::OptionTooLarge(parameter.value.substr(0, kMaxEnvidBytes));
  if (!IsValidXtext(parameter.value)) return Invalid("ENVID");
  out->dsn_envid = std::string(parameter.value);
  return std::nullopt;
}

// RFC 6710 section 4.2: "0", or a digit that is not, perhaps with a '-'.
Refusal ReadPriority(const Parameter& parameter, MailParameters* out) {
  absl::string_view digits = parameter.value;
  const bool negative = absl::ConsumePrefix(&digits, "-");
  if (!AreDigits(digits, 1) || (negative && digits == "0"))
    return Invalid("MT-PRIORITY");
  const int priority = digits[0] - '0';
  out->mt_priority = negative ? -priority : priority;
  return std::nullopt;
}

// RFC 2852 section 4: a number of at most nine digits with or without a sign,
// ";", the mode, perhaps "T".
std::optional<DeliverBy> ParseDeliverBy(absl::string_view value) {
  DeliverBy by;
  const std::vector<absl::string_view> parts = absl::StrSplit(value, ';');
  if (parts.size() != 2 || parts[1].empty() || parts[1].size() > 2)
    return std::nullopt;
  absl::string_view digits = parts[0];
  const bool negative = absl::ConsumePrefix(&digits, "-");
  if (!negative) absl::ConsumePrefix(&digits, "+");
  if (!AreDigits(digits, 9) || !absl::SimpleAtoi(digits, &by.seconds))
    return std::nullopt;
  if (negative) by.seconds = -by.seconds;
  by.mode = absl::ascii_toupper(static_cast<unsigned char>(parts[1][0]));
  if (by.mode != 'N' && by.mode != 'R') return std::nullopt;
  by.trace = parts[1].size() == 2;
  if (by.trace && !absl::EqualsIgnoreCase(parts[1].substr(1), "T"))
    return std::nullopt;
  return by;
}

Refusal ReadDeliverBy(const Parameter& parameter, const ParameterRules& rules,
                      MailParameters* out) {
  out->deliver_by = ParseDeliverBy(parameter.value);
  if (!out->deliver_by) return Invalid("BY");
  if (out->deliver_by->mode != 'R') return std::nullopt;
  // To be returned when late, it must not be late already.
  if (out->deliver_by->seconds <= 0) return Invalid("BY");
  if (absl::Seconds(out->deliver_by->seconds) < rules.deliverby_min)
    return replies::DeliverByTooShort();
  return std::nullopt;
}

// RFC 4865 section 4: HOLDFOR has at most nine digits, HOLDUNTIL is a date
// and time of RFC 3339.  One of both, and not too late.
Refusal ReadHoldFor(const Parameter& parameter, const ParameterRules& rules,
                    MailParameters* out) {
  int64_t seconds = 0;
  if (!AreDigits(parameter.value, 9) ||
      !absl::SimpleAtoi(parameter.value, &seconds) || seconds == 0 ||
      out->hold_until)
    return Invalid("HOLDFOR");
  out->hold_for = absl::Seconds(seconds);
  if (*out->hold_for > rules.futurerelease_max) return replies::HoldTooLong();
  return std::nullopt;
}

Refusal ReadHoldUntil(const Parameter& parameter, const ParameterRules& rules,
                      MailParameters* out) {
  absl::Time until;
  std::string error;
  // "2026-11-22T05:11:40Z": absl takes more forms than RFC 3339 has.
  const absl::string_view value = parameter.value;
  if (value.size() < 20 || value.size() > 35 || value[4] != '-' ||
      absl::ascii_toupper(static_cast<unsigned char>(value[10])) != 'T' ||
      out->hold_for ||
      !absl::ParseTime(absl::RFC3339_full, absl::AsciiStrToUpper(value), &until,
                       &error))
    return Invalid("HOLDUNTIL");
  if (until > rules.now + rules.futurerelease_max)
    return replies::HoldTooLong();
  out->hold_until = until;
  return std::nullopt;
}

Refusal ReadMailParameter(const Parameter& parameter,
                          const ParameterRules& rules, MailParameters* out) {
  const SmtpExtensions& offered = rules.offered;
  if (offered.size && parameter.Is("SIZE")) return ReadSize(parameter, out);
  if (parameter.Is("BODY")) {
    if (const auto body = ParseBody(parameter.value, offered)) {
      out->body = *body;
      return std::nullopt;
    }
  }
  if (parameter.Is("AUTH")) return ReadAuth(parameter, out);
  if (offered.dsn && parameter.Is("RET")) return ReadRet(parameter, out);
  if (offered.dsn && parameter.Is("ENVID")) return ReadEnvid(parameter, out);
  if (offered.smtputf8 && parameter.IsFlag("SMTPUTF8")) {
    if (parameter.has_value) return Invalid("SMTPUTF8");
    out->smtputf8 = true;
    return std::nullopt;
  }
  if (offered.requiretls && parameter.IsFlag("REQUIRETLS")) {
    if (parameter.has_value) return Invalid("REQUIRETLS");
    out->requiretls = true;
    return std::nullopt;
  }
  if (offered.mt_priority && parameter.Is("MT-PRIORITY"))
    return ReadPriority(parameter, out);
  if (offered.deliverby && parameter.Is("BY"))
    return ReadDeliverBy(parameter, rules, out);
  if (offered.futurerelease && parameter.Is("HOLDFOR"))
    return ReadHoldFor(parameter, rules, out);
  if (offered.futurerelease && parameter.Is("HOLDUNTIL"))
    return ReadHoldUntil(parameter, rules, out);
  return replies::UnsupportedOption(parameter.whole, /*enhanced=*/true);
}

// ---- RCPT

uint8_t NotifyWord(absl::string_view word) {
  if (absl::EqualsIgnoreCase(word, "SUCCESS")) return kNotifySuccess;
  if (absl::EqualsIgnoreCase(word, "FAILURE")) return kNotifyFailure;
  if (absl::EqualsIgnoreCase(word, "DELAY")) return kNotifyDelay;
  if (absl::EqualsIgnoreCase(word, "NEVER")) return kNotifyNever;
  return 0;
}

// RFC 3461 section 4.1; the reference ignores words that it doesn't know.
Refusal ReadNotify(const Parameter& parameter, RcptParameters* out) {
  for (const absl::string_view word : absl::StrSplit(parameter.value, ',')) {
    const uint8_t notify = NotifyWord(word);
    if (notify == 0 || (out->dsn_notify & notify) != 0)
      return Invalid("NOTIFY");
    out->dsn_notify |= notify;
  }
  if ((out->dsn_notify & kNotifyNever) && out->dsn_notify != kNotifyNever)
    return replies::NotifyNeverCombined();
  return std::nullopt;
}

// RFC 3461 section 4.2: the type of the address is an atom; RFC 6533 section 3
// for "utf-8".
bool IsValidOrcpt(absl::string_view value, bool smtputf8) {
  const size_t semicolon = value.find(';');
  if (semicolon == value.npos || semicolon == 0) return false;
  if (value.size() > kMaxOrcptBytes) return false;
  const absl::string_view type = value.substr(0, semicolon);
  for (const char c : type) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) &&
        absl::string_view("!#$%&'*/?^`{|}~+-=_").find(c) ==
            absl::string_view::npos)
      return false;
  }
  const absl::string_view address = value.substr(semicolon + 1);
  return absl::EqualsIgnoreCase(type, "utf-8")
             ? IsValidUtf8Address(address, smtputf8)
             : IsValidXtext(address);
}

Refusal ReadRcptParameter(const Parameter& parameter,
                          const ParameterRules& rules, RcptParameters* out) {
  if (rules.offered.dsn && parameter.Is("NOTIFY"))
    return ReadNotify(parameter, out);
  if (rules.offered.dsn && parameter.Is("ORCPT")) {
    if (!IsValidOrcpt(parameter.value, rules.smtputf8))
      return replies::OrcptSyntax();
    out->dsn_orcpt = std::string(parameter.value);
    return std::nullopt;
  }
  return replies::UnsupportedOption(parameter.whole, /*enhanced=*/false);
}

template <class Parameters, class ReadOne>
Refusal ReadAll(absl::string_view text, const ParameterRules& rules,
                ReadOne read_one, Parameters* out) {
  std::string seen = " ";
  for (const absl::string_view word :
       absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    const Parameter parameter = Split(word);
    const std::string name =
        absl::StrCat(" ", absl::AsciiStrToUpper(parameter.name), " ");
    if (absl::StrContains(seen, name))
      return replies::InvalidArguments("Duplicate option");
    if (Refusal refusal = read_one(parameter, rules, out)) return refusal;
    seen.append(name);
  }
  return std::nullopt;
}

}  // namespace

std::optional<Reply> ParseMailParameters(absl::string_view text,
                                         const ParameterRules& rules,
                                         MailParameters* out) {
  return ReadAll(text, rules, ReadMailParameter, out);
}

std::optional<Reply> ParseRcptParameters(absl::string_view text,
                                         const ParameterRules& rules,
                                         RcptParameters* out) {
  return ReadAll(text, rules, ReadRcptParameter, out);
}

}  // namespace holdfast
