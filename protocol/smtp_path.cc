#include "protocol/smtp_path.h"

#include <arpa/inet.h>

#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace holdfast {
namespace {

bool IsAtomCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
         absl::string_view("!#$%&'*/?^`{|}~+-=_").find(c) !=
             absl::string_view::npos;
}

// inet_pton(3) only reads its argument.
bool IsAddress(int family, absl::string_view text) {
  if (text.size() >= INET6_ADDRSTRLEN || text.find('\0') != text.npos)
    return false;
  unsigned char address[sizeof(in6_addr)];
  return inet_pton(family, std::string(text).c_str(), address) == 1;
}

bool IsValidLiteral(absl::string_view domain) {
  if (domain.size() < 2 || domain.back() != ']') return false;
  absl::string_view address = domain.substr(1, domain.size() - 2);
  if (absl::StartsWithIgnoreCase(address, "IPv6:"))
    return IsAddress(AF_INET6, address.substr(5));
  return IsAddress(AF_INET, address) || IsAddress(AF_INET6, address);
}

// RFC 1035 section 2.3.4: what is longer, no DNS can hold.
constexpr size_t kMaxLabelBytes = 63;

bool IsValidHostName(absl::string_view name) {
  if (name.empty() || name.front() == '-') return false;
  char previous = '.';
  size_t label = 0;
  for (const char c : name) {
    label = c == '.' ? 0 : label + 1;
    if (label > kMaxLabelBytes) return false;
    const bool plain = absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                       c == '-' || c == '_';
    if (!plain && c != '.') return false;
    if (c == '.' && previous == '.') return false;
    previous = c;
  }
  return previous != '.';
}

// A path and what is behind its '>'.
struct SplitPath {
  MailAddress address;
  absl::string_view parameters;
};

// Takes "<...>" off the front.  nullopt: not a path.
std::optional<SplitPath> SplitArgument(absl::string_view argument) {
  if (argument.empty() || argument.front() != '<') return std::nullopt;
  const size_t end = argument.find('>');
  if (end == argument.npos) return std::nullopt;
  SplitPath split;
  split.parameters =
      absl::StripLeadingAsciiWhitespace(argument.substr(end + 1));
  split.address = SplitAddress(argument.substr(1, end - 1));
  // A source route, "@a,@b:user@c": what is before the colon is ignored
  // (RFC 5321 section 4.1.1.3).
  const size_t colon = split.address.user.find(':');
  if (colon != std::string::npos) split.address.user.erase(0, colon + 1);
  return split;
}

bool CompleteAndCheck(const PathOptions& options, MailAddress* address) {
  if (!IsValidLocalPart(address->user)) return false;
  if (address->domain.empty())
    address->domain = std::string(options.default_domain);
  return IsValidDomain(address->domain);
}

// Splits off the value of "NAME=value" if the name is `name`.
bool HasName(absl::string_view parameter, absl::string_view name,
             absl::string_view* value) {
  if (!absl::StartsWithIgnoreCase(parameter, name)) return false;
  *value = parameter.substr(name.size());
  return true;
}

// The number, or the largest one if it does not fit.  nullopt: not a number
// of at most 20 digits (RFC 1870 section 3).
std::optional<uint64_t> ParseSize(absl::string_view digits) {
  if (digits.empty() || digits.size() > 20) return std::nullopt;
  uint64_t size = 0;
  bool overflow = false;
  for (const char c : digits) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c)))
      return std::nullopt;
    const uint64_t digit = static_cast<uint64_t>(c - '0');
    overflow |= __builtin_mul_overflow(size, uint64_t{10}, &size) ||
                __builtin_add_overflow(size, digit, &size);
  }
  return overflow ? std::numeric_limits<uint64_t>::max() : size;
}

std::optional<Reply> ReadMailParameter(absl::string_view parameter, bool dsn,
                                       MailParameters* out) {
  absl::string_view value;
  if (HasName(parameter, "SIZE=", &value)) {
    out->size = ParseSize(value);
    if (!out->size) return replies::InvalidArguments("Invalid SIZE");
    return std::nullopt;
  }
  if (HasName(parameter, "BODY=", &value) &&
      (absl::EqualsIgnoreCase(value, "7BIT") ||
       absl::EqualsIgnoreCase(value, "8BITMIME")))
    return std::nullopt;
  // RFC 4954 section 5: who is trusted enough to be believed is nobody.
  if (HasName(parameter, "AUTH=", &value)) return std::nullopt;
  if (dsn && HasName(parameter, "RET=", &value)) {
    if (absl::EqualsIgnoreCase(value, "HDRS"))
      out->dsn_ret = DsnReturn::kHeaders;
    if (absl::EqualsIgnoreCase(value, "FULL")) out->dsn_ret = DsnReturn::kFull;
    return std::nullopt;
  }
  if (dsn && HasName(parameter, "ENVID=", &value)) {
    if (value.size() > kMaxEnvidBytes)
      return replies::OptionTooLarge(value.substr(0, kMaxEnvidBytes));
    if (!IsValidXtext(value)) return replies::InvalidArguments("Invalid ENVID");
    out->dsn_envid = std::string(value);
    return std::nullopt;
  }
  return replies::UnsupportedOption(parameter, /*enhanced=*/true);
}

// Unknown words are ignored, as in the reference.
uint8_t ParseNotify(absl::string_view value) {
  uint8_t notify = 0;
  for (const absl::string_view word : absl::StrSplit(value, ',')) {
    if (absl::EqualsIgnoreCase(word, "SUCCESS")) notify |= kNotifySuccess;
    if (absl::EqualsIgnoreCase(word, "FAILURE")) notify |= kNotifyFailure;
    if (absl::EqualsIgnoreCase(word, "DELAY")) notify |= kNotifyDelay;
    if (absl::EqualsIgnoreCase(word, "NEVER")) notify |= kNotifyNever;
  }
  return notify;
}

bool IsValidOrcpt(absl::string_view value) {
  const size_t semicolon = value.find(';');
  if (semicolon == value.npos || semicolon == 0) return false;
  if (value.size() > kMaxOrcptBytes) return false;
  for (const char c : value.substr(0, semicolon)) {
    // The address type is an atom (RFC 3461 section 4.2).
    if (!IsAtomCharacter(c)) return false;
  }
  return IsValidXtext(value.substr(semicolon + 1));
}

std::optional<Reply> ReadRcptParameter(absl::string_view parameter, bool dsn,
                                       RcptParameters* out) {
  absl::string_view value;
  if (dsn && HasName(parameter, "NOTIFY=", &value)) {
    out->dsn_notify = ParseNotify(value);
    if ((out->dsn_notify & kNotifyNever) && out->dsn_notify != kNotifyNever)
      return replies::NotifyNeverCombined();
    return std::nullopt;
  }
  if (dsn && HasName(parameter, "ORCPT=", &value)) {
    if (!IsValidOrcpt(value)) return replies::OrcptSyntax();
    out->dsn_orcpt = std::string(value);
    return std::nullopt;
  }
  return replies::UnsupportedOption(parameter, /*enhanced=*/false);
}

// "NAME" of "NAME=value", for telling duplicates.
std::string NameOf(absl::string_view parameter) {
  return absl::AsciiStrToUpper(parameter.substr(0, parameter.find('=')));
}

template <class Parameters, class ReadOne>
std::optional<Reply> ReadParameters(absl::string_view text, bool dsn,
                                    ReadOne read_one, Parameters* out) {
  std::string seen = " ";
  for (const absl::string_view parameter :
       absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (std::optional<Reply> refusal = read_one(parameter, dsn, out))
      return refusal;
    const std::string name = absl::StrCat(" ", NameOf(parameter), " ");
    if (absl::StrContains(seen, name))
      return replies::InvalidArguments("Duplicate option");
    seen.append(name);
  }
  return std::nullopt;
}

}  // namespace

bool IsValidDomain(absl::string_view domain) {
  if (domain.empty() || domain.size() > kMaxDomainBytes) return false;
  return domain.front() == '[' ? IsValidLiteral(domain)
                               : IsValidHostName(domain);
}

bool IsValidLocalPart(absl::string_view local_part) {
  if (local_part.empty() || local_part.size() > kMaxLocalPartBytes)
    return false;
  char previous = '.';
  for (const char c : local_part) {
    if (c == '.' ? previous == '.' : !IsAtomCharacter(c)) return false;
    previous = c;
  }
  return previous != '.';
}

bool IsValidXtext(absl::string_view text) {
  const auto is_hex = [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c)) ||
           (c >= 'A' && c <= 'F');
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c < '!' || c > '~' || c == '=') return false;
    if (c != '+') continue;
    if (i + 2 >= text.size() || !is_hex(text[i + 1]) || !is_hex(text[i + 2]))
      return false;
    // A line end or a NUL would come out again where the value is shown.
    const bool control = text[i + 1] < '2' || text.substr(i + 1, 2) == "7F";
    if (control) return false;
    i += 2;
  }
  return true;
}

std::variant<ReversePath, Reply> ParseMailArgument(absl::string_view argument,
                                                   const PathOptions& options) {
  std::optional<SplitPath> split = SplitArgument(argument);
  if (!split) return replies::SenderSyntax();
  if (!split->address.IsNull() && !CompleteAndCheck(options, &split->address))
    return replies::SenderSyntax();
  ReversePath path;
  path.address = std::move(split->address);
  if (std::optional<Reply> refusal = ReadParameters(
          split->parameters, options.dsn, ReadMailParameter, &path.parameters))
    return *std::move(refusal);
  return path;
}

std::variant<ForwardPath, Reply> ParseRcptArgument(absl::string_view argument,
                                                   const PathOptions& options) {
  std::optional<SplitPath> split = SplitArgument(argument);
  if (!split || !CompleteAndCheck(options, &split->address))
    return replies::RecipientSyntax();
  ForwardPath path;
  path.address = std::move(split->address);
  if (std::optional<Reply> refusal = ReadParameters(
          split->parameters, options.dsn, ReadRcptParameter, &path.parameters))
    return *std::move(refusal);
  return path;
}

}  // namespace holdfast
