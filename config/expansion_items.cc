#include "config/expansion_items.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

constexpr size_t kMaxAddressPart = 255;

bool IsAlnum(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c));
}

bool AllOf(absl::string_view text, absl::string_view others) {
  for (const char c : text) {
    if (!IsAlnum(c) && others.find(c) == absl::string_view::npos) return false;
  }
  return !text.empty();
}

// `text` without the first of the prefixes that it has, in any case.
std::optional<absl::string_view> Without(absl::string_view text,
                                         absl::string_view prefix) {
  for (const std::string& full :
       {absl::StrCat(":", prefix), std::string(prefix)}) {
    if (absl::StartsWithIgnoreCase(text, full)) {
      return text.substr(full.size());
    }
  }
  return std::nullopt;
}

// "550 go away"
bool IsErrorText(absl::string_view text) {
  const auto digit = [&](size_t at) {
    return absl::ascii_isdigit(static_cast<unsigned char>(text[at]));
  };
  return text.size() >= 5 && text.size() <= kMaxItemBytes &&
         (text[0] == '4' || text[0] == '5') && digit(1) && digit(2) &&
         text[3] == ' ' && IsAlnum(text[4]);
}

bool IsAddress(absl::string_view text) {
  const size_t at = text.find('@');
  if (at == absl::string_view::npos) return false;
  const absl::string_view user = text.substr(0, at);
  const absl::string_view domain = text.substr(at + 1);
  return user.size() <= kMaxAddressPart && domain.size() <= kMaxAddressPart &&
         AllOf(user, "!#$%*/?|^{}`~&'+-=_.") && AllOf(domain, "-.");
}

std::optional<ExpansionItem> Classify(absl::string_view text) {
  using Kind = ExpansionItem::Kind;
  const auto item = [](Kind kind, absl::string_view value) {
    return ExpansionItem{kind, std::string(value)};
  };
  if (const auto error = Without(text, "error:")) {
    if (!IsErrorText(*error)) return std::nullopt;
    return item(Kind::kError, *error);
  }
  if (const auto path = Without(text, "include:")) {
    if (path->empty() || path->front() != '/' || path->size() > kMaxItemBytes) {
      return std::nullopt;
    }
    return item(Kind::kInclude, *path);
  }
  absl::string_view command = text;
  if (absl::StartsWith(text, "\"|") && absl::EndsWith(text, "\"") &&
      text.size() > 2) {
    command = text.substr(1, text.size() - 2);
  }
  if (command.front() == '|') {
    if (command.size() == 1 || command.size() > kMaxItemBytes) {
      return std::nullopt;
    }
    return item(Kind::kPipe, command);
  }
  if (text.front() == '/') {
    if (text.size() > kMaxItemBytes) return std::nullopt;
    return item(Kind::kFile, text);
  }
  if (IsAddress(text)) return item(Kind::kAddress, text);
  if (text.size() <= kMaxAddressPart && AllOf(text, "_.-+")) {
    return item(Kind::kUser, text);
  }
  return std::nullopt;
}

// Appends what of the line counts; true if the next one continues it.
bool AppendForwardLine(absl::string_view line, std::string* out) {
  bool escaped = false;
  for (const char c : line) {
    if (c == '#' && !escaped) return false;
    escaped = c == '\\' && !escaped;
    out->push_back(c);
  }
  if (escaped) out->pop_back();
  return escaped;
}

}  // namespace

absl::StatusOr<std::vector<ExpansionItem>> ParseExpansionItems(
    absl::string_view line) {
  if (line.size() >= kMaxExpansionBytes) {
    return absl::InvalidArgumentError("line too long");
  }
  std::vector<ExpansionItem> items;
  std::string text;
  // False if what was gathered is no item.
  const auto finish = [&] {
    const absl::string_view trimmed = absl::StripAsciiWhitespace(text);
    if (trimmed.empty()) {
      text.clear();
      return true;
    }
    std::optional<ExpansionItem> item = Classify(trimmed);
    text.clear();
    if (!item) return false;
    items.push_back(*std::move(item));
    return true;
  };
  char quote = '\0';
  bool escaped = false;
  for (const char c : line) {
    if (escaped) {
      escaped = false;
    } else if (c == '\\') {
      escaped = true;
      continue;
    } else if (c == quote) {
      quote = '\0';
    } else if (quote == '\0' && (c == '"' || c == '\'')) {
      quote = c;
    } else if (quote == '\0' && c == ',') {
      if (!finish()) return absl::InvalidArgumentError("not an item");
      continue;
    }
    text.push_back(c);
  }
  if (quote != '\0') return absl::InvalidArgumentError("unbalanced quotes");
  if (!finish()) return absl::InvalidArgumentError("not an item");
  return items;
}

bool IsExpansion(absl::string_view line) {
  return ParseExpansionItems(line).ok();
}

absl::StatusOr<std::vector<ExpansionItem>> ParseForward(
    absl::string_view contents) {
  std::vector<ExpansionItem> all;
  std::string line;
  while (!contents.empty()) {
    const size_t end = std::min(contents.find('\n'), contents.size());
    const bool continued = AppendForwardLine(contents.substr(0, end), &line);
    contents.remove_prefix(std::min(end + 1, contents.size()));
    if (continued && !contents.empty()) continue;
    absl::StatusOr<std::vector<ExpansionItem>> items =
        ParseExpansionItems(line);
    if (!items.ok()) return items.status();
    for (ExpansionItem& item : *items) {
      if (item.kind == ExpansionItem::Kind::kInclude) continue;
      all.push_back(std::move(item));
    }
    line.clear();
  }
  return all;
}

}  // namespace holdfast
