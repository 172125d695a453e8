#include "config/format_specifiers.h"

#include <string.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace holdfast {
namespace {

// What the reference replaces, unless `raw` was said.
constexpr char kSanitised[] = "!#$%&'*?`{|}~";

absl::Status Bad() {
  return absl::InvalidArgumentError(
      "smtpd: mda command line could not be expanded");
}

struct Value {
  std::string text;
  bool sanitised = true;     // shell characters become ':'
  bool from_message = true;  // not to be trusted with ".."
};

// Whatever is neither ordinary nor one of `others` becomes ':'.
std::string Only(std::string text, absl::string_view others) {
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (!absl::ascii_isalnum(byte) && byte < 0x80 &&
        others.find(c) == absl::string_view::npos)
      c = ':';
  }
  return text;
}

// The characters of a dot-string (RFC 5321 section 4.1.2).
std::string CleanUser(const std::string& user) {
  return Only(user, "!#$%&'*+-/=?^_`{|}~.");
}

// Those of domains and address literals.
std::string CleanDomain(const std::string& domain) {
  return Only(domain, "-._[]:");
}

MailAddress Clean(const MailAddress& address) {
  return {CleanUser(address.user), CleanDomain(address.domain)};
}

std::optional<std::string> AddressPart(absl::string_view name,
                                       absl::string_view which,
                                       const MailAddress& address) {
  if (!absl::ConsumePrefix(&name, which)) return std::nullopt;
  if (name.empty()) return address.ForPath();
  if (name == ".user") return address.user;
  if (name == ".domain") return address.domain;
  return std::nullopt;
}

std::optional<Value> Find(const std::string& name, const FormatValues& values) {
  if (name == "user.username") return Value{CleanUser(values.username)};
  if (name == "user.directory") return Value{values.directory, false, false};
  if (name == "mbox.from") {
    return Value{values.sender.IsNull() ? "MAILER-DAEMON"
                                        : Clean(values.sender).ToString()};
  }
  if (name == "mda" && values.mda) return Value{*values.mda, false, false};
  for (const auto& [which, address] :
       {std::pair<const char*, const MailAddress&>{"sender", values.sender},
        {"rcpt", values.rcpt},
        {"dest", values.dest}}) {
    if (std::optional<std::string> part =
            AddressPart(name, which, Clean(address)))
      return Value{*std::move(part)};
  }
  return std::nullopt;
}

// Cuts the delimiter and what follows it, up to the '@'.
std::string Strip(const std::string& text, char delimiter) {
  const size_t at = text.rfind('@');
  const std::string user = text.substr(0, at);
  const size_t cut = user.find(delimiter);
  if (cut == std::string::npos) return text;
  return user.substr(0, cut) + (at == std::string::npos ? "" : text.substr(at));
}

bool Modify(absl::string_view modifiers, char delimiter, Value* value) {
  for (absl::string_view modifier : absl::StrSplit(modifiers, '|')) {
    const std::string name = absl::AsciiStrToLower(modifier);
    if (name == "lowercase") {
      absl::AsciiStrToLower(&value->text);
    } else if (name == "uppercase") {
      absl::AsciiStrToUpper(&value->text);
    } else if (name == "strip") {
      value->text = Strip(value->text, delimiter);
    } else if (name == "raw") {
      value->sanitised = false;
    } else {
      return false;
    }
  }
  return true;
}

// "[i]", "[i:]", "[:j]", "[i:j]" without the brackets; the end is inclusive.
bool Cut(absl::string_view range, std::string* text) {
  const int64_t length = static_cast<int64_t>(text->size());
  const size_t colon = range.find(':');
  const absl::string_view first = range.substr(0, colon);
  int64_t begin = 0, end = length - 1;
  if (!first.empty() && !absl::SimpleAtoi(first, &begin)) return false;
  if (colon == absl::string_view::npos) {
    if (first.empty() || begin < 0) return false;
    end = begin;
  } else if (const absl::string_view last = range.substr(colon + 1);
             !last.empty()) {
    if (!absl::SimpleAtoi(last, &end)) return false;
    if (end < 0) end += length - 1;
  } else if (first.empty()) {
    return false;
  }
  if (length == 0) return true;  // whatever the range
  if (begin < 0) begin += length;
  end = std::min(end, length - 1);
  if (begin < 0 || begin >= length || end < begin) return false;
  *text = text->substr(static_cast<size_t>(begin),
                       static_cast<size_t>(end - begin + 1));
  return true;
}

// What stands behind the name: "[range]", ":modifiers", or both.  The range is
// of what the modifiers leave.
bool Apply(absl::string_view rest, char delimiter, Value* value) {
  absl::string_view range;
  if (absl::ConsumePrefix(&rest, "[")) {
    const size_t end = rest.find(']');
    if (end == absl::string_view::npos || end == 0) return false;
    range = rest.substr(0, end);
    rest.remove_prefix(end + 1);
  }
  if (absl::ConsumePrefix(&rest, ":")) {
    if (!Modify(rest, delimiter, value)) return false;
  } else if (!rest.empty()) {
    return false;
  }
  return range.empty() || Cut(range, &value->text);
}

enum class Use { kPath, kCommand };

absl::StatusOr<Value> ExpandOne(absl::string_view token,
                                const FormatValues& values, Use use) {
  const size_t name_ends = std::min(token.find_first_of("[:"), token.size());
  std::optional<Value> value =
      Find(absl::AsciiStrToLower(token.substr(0, name_ends)), values);
  if (!value || !Apply(token.substr(name_ends), values.delimiter, &*value))
    return Bad();
  // `raw` is for paths: what the shell would read is never left to strangers.
  if (value->sanitised || (use == Use::kCommand && value->from_message)) {
    for (char& c : value->text) {
      if (c != '\0' && strchr(kSanitised, c) != nullptr) c = ':';
    }
  }
  return *std::move(value);
}

// The text as it grows, with what of it came from a message.
class Expanded {
 public:
  bool Append(absl::string_view text, bool from_message) {
    text_.append(text.data(), text.size());
    from_message_.resize(text_.size(), from_message);
    return text_.size() <= kMaxExpandedBytes;
  }

  // `separators`: what names of a path end at.
  bool Climbs(absl::string_view separators) const {
    size_t start = 0;
    for (size_t i = 0; i <= text_.size(); ++i) {
      if (i < text_.size() && !absl::StrContains(separators, text_[i]))
        continue;
      if (text_.compare(start, i - start, "..") == 0 &&
          (from_message_[start] || from_message_[start + 1]))
        return true;
      start = i + 1;
    }
    return false;
  }

  const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::vector<bool> from_message_;
};

absl::StatusOr<Expanded> Expand(absl::string_view format,
                                const FormatValues& values, Use use) {
  const absl::string_view whole = format;
  Expanded out;
  if (absl::ConsumePrefix(&format, "~/")) {
    if (!out.Append(values.directory, false) || !out.Append("/", false))
      return Bad();
  }
  while (!format.empty()) {
    const size_t plain = std::min(format.find('%'), format.size());
    if (!out.Append(format.substr(0, plain), false)) return Bad();
    format.remove_prefix(plain);
    if (absl::ConsumePrefix(&format, "%%")) {
      if (!out.Append("%", false)) return Bad();
    } else if (absl::ConsumePrefix(&format, "%{")) {
      const size_t end = format.find('}');
      if (end == absl::string_view::npos) {
        Expanded as_written;
        if (!as_written.Append(whole, false)) return Bad();
        return as_written;
      }
      if (end > kMaxSpecifierBytes) return Bad();
      absl::StatusOr<Value> value =
          ExpandOne(format.substr(0, end), values, use);
      if (!value.ok()) return value.status();
      if (!out.Append(value->text, value->from_message)) return Bad();
      format.remove_prefix(end + 1);
    } else if (!format.empty()) {
      if (!out.Append(format.substr(0, 1), false)) return Bad();
      format.remove_prefix(1);
    }
  }
  if (out.text().find('\0') != std::string::npos) return Bad();
  return out;
}

}  // namespace

absl::StatusOr<std::string> ExpandCommand(absl::string_view format,
                                          const FormatValues& values) {
  absl::StatusOr<Expanded> expanded = Expand(format, values, Use::kCommand);
  if (!expanded.ok()) return expanded.status();
  return expanded->text();
}

absl::StatusOr<std::string> ExpandPathCommand(absl::string_view format,
                                              const FormatValues& values) {
  absl::StatusOr<Expanded> expanded = Expand(format, values, Use::kCommand);
  if (!expanded.ok()) return expanded.status();
  if (expanded->Climbs("/\"' ")) return Bad();
  return expanded->text();
}

absl::StatusOr<std::string> ExpandPath(absl::string_view format,
                                       const FormatValues& values) {
  absl::StatusOr<Expanded> expanded = Expand(format, values, Use::kPath);
  if (!expanded.ok()) return expanded.status();
  if (expanded->Climbs("/")) return Bad();
  return expanded->text();
}

bool NeedsDirectory(absl::string_view format) {
  return absl::StartsWith(format, "~/") ||
         absl::StrContains(absl::AsciiStrToLower(format), "user.directory");
}

}  // namespace holdfast
