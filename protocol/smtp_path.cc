#include "protocol/smtp_path.h"

#include <arpa/inet.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "protocol/xtext.h"

namespace holdfast {
namespace {

bool IsAtomCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
         absl::string_view("!#$%&'*/?^`{|}~+-=_").find(c) !=
             absl::string_view::npos;
}

bool IsAboveAscii(char c) { return static_cast<unsigned char>(c) > 127; }

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

bool IsValidHostName(absl::string_view name, bool utf8) {
  if (name.empty() || name.front() == '-') return false;
  if (utf8 && !IsValidUtf8(name)) return false;
  char previous = '.';
  size_t label = 0;
  for (const char c : name) {
    // A label with UTF-8 is shorter in the form that the DNS has.
    const bool wide = utf8 && IsAboveAscii(c);
    label = c == '.' ? 0 : label + (wide ? 0 : 1);
    if (label > kMaxLabelBytes) return false;
    const bool plain = absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                       c == '-' || c == '_';
    if (!plain && !wide && c != '.') return false;
    if (c == '.' && previous == '.') return false;
    previous = c;
  }
  return previous != '.';
}

bool IsDotAtom(absl::string_view text, bool utf8) {
  char previous = '.';
  for (const char c : text) {
    const bool atom = IsAtomCharacter(c) || (utf8 && IsAboveAscii(c));
    if (c == '.' ? previous == '.' : !atom) return false;
    previous = c;
  }
  return previous != '.';
}

// What a quoted string stands for (RFC 5321 section 4.1.2).
std::optional<std::string> Unquote(absl::string_view quoted, bool utf8) {
  if (quoted.size() < 2 || quoted.front() != '"' || quoted.back() != '"')
    return std::nullopt;
  quoted = quoted.substr(1, quoted.size() - 2);
  std::string content;
  for (size_t i = 0; i < quoted.size(); ++i) {
    if (quoted[i] == '"') return std::nullopt;
    const bool escaped = quoted[i] == '\\';
    if (escaped && ++i == quoted.size()) return std::nullopt;
    const char c = quoted[i];
    const bool plain = c >= ' ' && c <= '~';
    if (!plain && (escaped || !utf8 || !IsAboveAscii(c))) return std::nullopt;
    content.push_back(c);
  }
  return content;
}

std::string Quote(absl::string_view content) {
  std::string quoted = "\"";
  for (const char c : content) {
    if (c == '"' || c == '\\') quoted.push_back('\\');
    quoted.push_back(c);
  }
  quoted.push_back('"');
  return quoted;
}

// A path and what is behind its '>'.
struct SplitPath {
  bool has_text = false;  // it is not "<>"
  absl::string_view local_part;
  absl::string_view domain;
  absl::string_view parameters;
};

// Takes "<...>" off the front; what is quoted ends nothing.  nullopt: not a
// path.
std::optional<SplitPath> SplitArgument(absl::string_view argument) {
  if (argument.empty() || argument.front() != '<') return std::nullopt;
  // A source route, "@a,@b:user@c", is ignored (RFC 5321 section 4.1.1.3).
  size_t begin = 1;
  if (argument.size() > 1 && argument[1] == '@') {
    begin = argument.find_first_of(":>\"");
    if (begin == argument.npos || argument[begin] != ':') return std::nullopt;
    ++begin;
  }
  size_t at = argument.npos;
  size_t end = begin;
  for (bool quoted = false;; ++end) {
    if (end >= argument.size()) return std::nullopt;
    const char c = argument[end];
    if (quoted && c == '\\') {
      ++end;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && c == '>') {
      break;
    } else if (!quoted && c == '@') {
      at = end;
    }
  }
  SplitPath split;
  split.has_text = end > 1;
  split.local_part = argument.substr(begin, std::min(at, end) - begin);
  if (at < end) split.domain = argument.substr(at + 1, end - at - 1);
  split.parameters =
      absl::StripLeadingAsciiWhitespace(argument.substr(end + 1));
  return split;
}

// nullopt: a syntax error.
std::optional<MailAddress> CompleteAndCheck(const PathOptions& options,
                                            const SplitPath& split) {
  // Whether MAIL has SMTPUTF8 is known only when its parameters were read.
  const bool utf8 = options.rules.offered.smtputf8;
  MailAddress address;
  std::optional<std::string> user = CanonicalLocalPart(split.local_part, utf8);
  if (!user) return std::nullopt;
  address.user = *std::move(user);
  address.domain =
      std::string(split.domain.empty() ? options.default_domain : split.domain);
  if (!IsValidDomain(address.domain, utf8)) return std::nullopt;
  return address;
}

bool IsAscii(const MailAddress& address) {
  return std::none_of(address.user.begin(), address.user.end(), IsAboveAscii) &&
         std::none_of(address.domain.begin(), address.domain.end(),
                      IsAboveAscii);
}

}  // namespace

bool IsValidDomain(absl::string_view domain, bool utf8) {
  if (domain.empty() || domain.size() > kMaxDomainBytes) return false;
  return domain.front() == '[' ? IsValidLiteral(domain)
                               : IsValidHostName(domain, utf8);
}

std::optional<std::string> CanonicalLocalPart(absl::string_view local_part,
                                              bool utf8) {
  if (local_part.size() > kMaxLocalPartBytes) return std::nullopt;
  if (utf8 && !IsValidUtf8(local_part)) return std::nullopt;
  if (!absl::StartsWith(local_part, "\"")) {
    if (!IsDotAtom(local_part, utf8)) return std::nullopt;
    return std::string(local_part);
  }
  std::optional<std::string> content = Unquote(local_part, utf8);
  if (!content) return std::nullopt;
  return IsDotAtom(*content, utf8) ? *content : Quote(*content);
}

WrittenPath ReadPath(absl::string_view argument) {
  const std::optional<SplitPath> split = SplitArgument(argument);
  if (!split) {
    absl::string_view word = argument.substr(0, argument.find(' '));
    absl::ConsumePrefix(&word, "<");
    absl::ConsumeSuffix(&word, ">");
    return {word, {}};
  }
  // The last '>' before the parameters.
  const size_t end =
      argument.substr(0, argument.size() - split->parameters.size()).rfind('>');
  return {argument.substr(1, end - 1), split->parameters};
}

std::variant<ReversePath, Reply> ParseMailArgument(absl::string_view argument,
                                                   const PathOptions& options) {
  const std::optional<SplitPath> split = SplitArgument(argument);
  if (!split) return replies::SenderSyntax();
  ReversePath path;
  if (split->has_text) {
    std::optional<MailAddress> address = CompleteAndCheck(options, *split);
    if (!address) return replies::SenderSyntax();
    path.address = *std::move(address);
  }
  if (std::optional<Reply> refusal = ParseMailParameters(
          split->parameters, options.rules, &path.parameters))
    return *std::move(refusal);
  // RFC 6531 section 3.5.
  if (!path.parameters.smtputf8 && !IsAscii(path.address))
    return replies::NonAsciiSender();
  return path;
}

std::variant<ForwardPath, Reply> ParseRcptArgument(absl::string_view argument,
                                                   const PathOptions& options) {
  const std::optional<SplitPath> split = SplitArgument(argument);
  if (!split) return replies::RecipientSyntax();
  std::optional<MailAddress> address = CompleteAndCheck(options, *split);
  if (!address) return replies::RecipientSyntax();
  ForwardPath path;
  path.address = *std::move(address);
  if (std::optional<Reply> refusal = ParseRcptParameters(
          split->parameters, options.rules, &path.parameters))
    return *std::move(refusal);
  if (!options.rules.smtputf8 && !IsAscii(path.address))
    return replies::NonAsciiRecipient();
  return path;
}

}  // namespace holdfast
