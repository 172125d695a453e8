#include "server/deliver/expand_path.h"

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

constexpr size_t kMaxTokenBytes = 127;
constexpr size_t kMaxExpandedBytes = 1023;

absl::Status Bad() {
  return absl::InvalidArgumentError(
      "smtpd: mda command line could not be expanded");
}

struct Value {
  std::string text;
  bool sanitised = true;     // shell characters become ':'
  bool from_message = true;  // not to be trusted with ".."
};

std::optional<std::string> AddressPart(absl::string_view name,
                                       absl::string_view which,
                                       const MailAddress& address) {
  if (!absl::ConsumePrefix(&name, which)) return std::nullopt;
  if (name.empty()) return address.ForPath();
  if (name == ".user") return address.user;
  if (name == ".domain") return address.domain;
  return std::nullopt;
}

std::optional<Value> Find(const std::string& name, const PathValues& values) {
  if (name == "user.username") return Value{values.username};
  if (name == "user.directory") return Value{values.directory, false, false};
  if (name == "mbox.from") {
    return Value{values.sender.IsNull() ? "MAILER-DAEMON"
                                        : values.sender.ToString()};
  }
  for (const auto& [which, address] :
       {std::pair<const char*, const MailAddress&>{"sender", values.sender},
        {"rcpt", values.rcpt},
        {"dest", values.dest}}) {
    if (std::optional<std::string> part = AddressPart(name, which, address))
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

absl::StatusOr<Value> Expand(absl::string_view token,
                             const PathValues& values) {
  const size_t colon_at = token.find_first_of("[:");
  std::optional<Value> value =
      Find(absl::AsciiStrToLower(token.substr(0, colon_at)), values);
  if (!value) return Bad();
  if (colon_at != absl::string_view::npos) {
    absl::string_view rest = token.substr(colon_at);
    if (absl::ConsumePrefix(&rest, "[")) {
      // A range with modifiers behind it is an error, as in the reference.
      if (!absl::ConsumeSuffix(&rest, "]") || !Cut(rest, &value->text))
        return Bad();
    } else if (!Modify(rest.substr(1), values.delimiter, &*value)) {
      return Bad();
    }
  }
  if (value->sanitised) {
    for (char& c : value->text) {
      if (c != '\0' && strchr("!#$%&'*?`{|}~", c) != nullptr) c = ':';
    }
  }
  return *std::move(value);
}

// The path as it grows, with what of it came from a message.
class Path {
 public:
  bool Append(absl::string_view text, bool from_message) {
    text_.append(text.data(), text.size());
    from_message_.resize(text_.size(), from_message);
    return text_.size() <= kMaxExpandedBytes;
  }

  bool Climbs() const {
    size_t start = 0;
    for (size_t i = 0; i <= text_.size(); ++i) {
      if (i < text_.size() && text_[i] != '/') continue;
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

}  // namespace

absl::StatusOr<std::string> ExpandPath(absl::string_view format,
                                       const PathValues& values) {
  const absl::string_view whole = format;
  Path path;
  if (absl::ConsumePrefix(&format, "~/")) {
    if (!path.Append(values.directory, false) || !path.Append("/", false))
      return Bad();
  }
  while (!format.empty()) {
    const size_t plain = std::min(format.find('%'), format.size());
    if (!path.Append(format.substr(0, plain), false)) return Bad();
    format.remove_prefix(plain);
    if (absl::ConsumePrefix(&format, "%%")) {
      if (!path.Append("%", false)) return Bad();
    } else if (absl::ConsumePrefix(&format, "%{")) {
      const size_t end = format.find('}');
      // Without its end it is no specifier: the text stays as it is.
      if (end == absl::string_view::npos) return std::string(whole);
      if (end > kMaxTokenBytes) return Bad();
      absl::StatusOr<Value> value = Expand(format.substr(0, end), values);
      if (!value.ok()) return value.status();
      if (!path.Append(value->text, value->from_message)) return Bad();
      format.remove_prefix(end + 1);
    } else if (!format.empty()) {
      if (!path.Append(format.substr(0, 1), false)) return Bad();
      format.remove_prefix(1);
    }
  }
  if (path.Climbs() || path.text().find('\0') != std::string::npos)
    return Bad();
  return path.text();
}

bool NeedsDirectory(absl::string_view format) {
  return absl::StartsWith(format, "~/") ||
         absl::StrContains(absl::AsciiStrToLower(format), "user.directory");
}

}  // namespace holdfast
