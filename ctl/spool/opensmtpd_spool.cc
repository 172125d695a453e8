#include "ctl/spool/opensmtpd_spool.h"

#include <array>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace holdfast {
namespace {

constexpr int kVersion = 3;

template <class Number>
bool ToNumber(absl::string_view text, Number most, Number* number) {
  return absl::SimpleAtoi(text, number) && *number >= 0 && *number <= most;
}

// Until the year 9999.
bool ToTime(absl::string_view text, absl::Time* time) {
  int64_t seconds = 0;
  if (!ToNumber<int64_t>(text, 253'402'300'799, &seconds)) return false;
  *time = absl::FromUnixSeconds(seconds);
  return true;
}

bool ToAddress(absl::string_view text, MailAddress* address) {
  if (text.find('@') == text.npos) return false;
  *address = SplitAddress(text);
  return true;
}

bool ToText(absl::string_view text, std::string* value) {
  *value = std::string(text);
  return true;
}

bool ToFlags(absl::string_view text, uint32_t* flags) {
  for (const absl::string_view word :
       absl::StrSplit(text, absl::ByAnyChar(" ,|"), absl::SkipEmpty())) {
    if (word == "authenticated") {
      *flags |= kFlagAuthenticated;
    } else if (word == "bounce") {
      *flags |= kFlagBounce;
    } else if (word == "internal") {
      *flags |= kFlagInternal;
    } else if (word != "enqueued") {
      return false;
    }
  }
  return true;
}

bool ToReturn(absl::string_view text, DsnReturn* value) {
  *value = text == "FULL" ? DsnReturn::kFull : DsnReturn::kHeaders;
  return text == "FULL" || text == "HDRS";
}

// The file is fields in any order.
class Parser {
 public:
  absl::StatusOr<OpensmtpdEnvelope> Run(absl::string_view text) {
    for (absl::string_view line : absl::StrSplit(text, '\n')) {
      if (line.empty()) continue;
      const size_t colon = line.find(':');
      if (colon == line.npos)
        return absl::InvalidArgumentError("a line without a field");
      const std::string key = absl::AsciiStrToLower(
          absl::StripAsciiWhitespace(line.substr(0, colon)));
      if (!Field(key, absl::StripAsciiWhitespace(line.substr(colon + 1))))
        return absl::InvalidArgumentError(
            absl::StrCat("invalid field \"", key, "\""));
    }
    if (version_ != kVersion)
      return absl::InvalidArgumentError("version mismatch");
    if (type_.empty()) return absl::InvalidArgumentError("no type");
    if (e_.helo.empty()) return absl::InvalidArgumentError("empty helo");
    if (e_.hostname.empty())
      return absl::InvalidArgumentError("empty hostname");
    if (e_.created == absl::UnixEpoch())
      return absl::InvalidArgumentError("no ctime");
    if (e_.action.empty() && type_ != "bounce")
      return absl::InvalidArgumentError("no dispatcher");
    if (e_.status.klass == 0) e_.status = {};
    return OpensmtpdEnvelope{std::move(e_), type_ == "bounce"};
  }

 private:
  bool Field(absl::string_view key, absl::string_view value) {
    return Text(key, value) || Address(key, value) || Time(key, value) ||
           Dsn(key, value) || Other(key, value);
  }

  bool Text(absl::string_view key, absl::string_view value) {
    const std::pair<absl::string_view, std::string*> fields[] = {
        {"dispatcher", &e_.action},    {"tag", &e_.tag},
        {"smtpname", &e_.smtpname},    {"helo", &e_.helo},
        {"hostname", &e_.hostname},    {"username", &e_.username},
        {"errorline", &e_.error_line}, {"sockaddr", &e_.sockaddr},
        {"mda-exec", &e_.mda_exec},    {"mda-subaddress", &e_.mda_subaddress},
        {"mda-user", &e_.mda_user},    {"dsn-envid", &e_.dsn_envid}};
    for (const auto& [name, field] : fields)
      if (key == name) return ToText(value, field);
    return false;
  }

  bool Address(absl::string_view key, absl::string_view value) {
    if (key == "sender") return ToAddress(value, &e_.sender);
    if (key == "rcpt") return ToAddress(value, &e_.rcpt);
    if (key == "dest") return ToAddress(value, &e_.dest);
    return false;
  }

  bool Time(absl::string_view key, absl::string_view value) {
    if (key == "ctime") return ToTime(value, &e_.created);
    if (key == "last-try") return ToTime(value, &e_.last_try);
    if (key == "last-bounce") return ToTime(value, &e_.last_bounce);
    return false;
  }

  bool Dsn(absl::string_view key, absl::string_view value) {
    if (key == "dsn-ret") return ToReturn(value, &e_.dsn_ret);
    if (key == "dsn-orcpt") {
      // Some versions leave the type of address out.
      e_.dsn_orcpt = value.find(';') == value.npos
                         ? absl::StrCat("rfc822;", value)
                         : std::string(value);
      return true;
    }
    int notify = 0;
    if (key != "dsn-notify" || !ToNumber(value, 15, &notify)) return false;
    e_.dsn_notify = static_cast<uint8_t>(notify);
    return true;
  }

  bool Other(absl::string_view key, absl::string_view value) {
    int number = 0;
    uint64_t ignored = 0;
    if (key == "version") return ToNumber(value, 1000, &version_);
    if (key == "type") {
      type_ = std::string(value);
      e_.kind = value == "mda" ? DeliveryKind::kMda : DeliveryKind::kMta;
      return value == "mda" || value == "mta" || value == "bounce";
    }
    if (key == "retry")
      return absl::SimpleAtoi(value, &e_.retry) && e_.retry <= 1'000'000;
    if (key == "flags") return ToFlags(value, &e_.flags);
    if (key == "esc-class") {
      if (!ToNumber(value, 5, &number)) return false;
      e_.status.klass = static_cast<uint8_t>(number);
      return true;
    }
    if (key == "esc-code") {
      if (!ToNumber(value, 99, &number)) return false;
      e_.status.code = static_cast<uint8_t>(number);
      return true;
    }
    if (key == "ttl" || key == "bounce-ttl" || key == "bounce-delay")
      return absl::SimpleAtoi(value, &ignored);
    return key == "bounce-type";
  }

  Envelope e_;
  std::string type_;
  int version_ = 0;
};

}  // namespace

absl::StatusOr<OpensmtpdEnvelope> ParseOpensmtpdEnvelope(
    absl::string_view text) {
  if (text.size() > kMaxOpensmtpdEnvelope)
    return absl::InvalidArgumentError("it is too long");
  if (text.find('\0') != text.npos || text.find('\r') != text.npos)
    return absl::InvalidArgumentError("it holds a control character");
  return Parser().Run(text);
}

}  // namespace holdfast
