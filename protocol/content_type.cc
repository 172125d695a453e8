#include "protocol/content_type.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace holdfast {
namespace {

// White space and comments, which may be nested.
void SkipCfws(absl::string_view* rest) {
  size_t depth = 0, i = 0;
  for (; i < rest->size(); ++i) {
    const char c = (*rest)[i];
    if (c == '(') {
      ++depth;
    } else if (depth > 0) {
      if (c == ')') --depth;
      if (c == '\\') ++i;
    } else if (!absl::ascii_isspace(static_cast<unsigned char>(c))) {
      break;
    }
  }
  rest->remove_prefix(std::min(i, rest->size()));
}

std::string TakeToken(absl::string_view* rest) {
  const size_t end =
      std::min(rest->find_first_of(" \t\r\n()<>@,;:\\\"/[]?="), rest->size());
  std::string token(rest->substr(0, end));
  rest->remove_prefix(end);
  return token;
}

// A value may hold some of what a token must not, and often does unquoted.
std::string TakeValue(absl::string_view* rest) {
  if (!absl::StartsWith(*rest, "\"")) {
    const size_t end =
        std::min(rest->find_first_of(" \t\r\n;\""), rest->size());
    std::string value(rest->substr(0, end));
    rest->remove_prefix(end);
    return value;
  }
  std::string value;
  size_t i = 1;
  for (; i < rest->size() && (*rest)[i] != '"'; ++i) {
    if ((*rest)[i] == '\\' && i + 1 < rest->size()) ++i;
    // Folding is no part of it.
    if ((*rest)[i] != '\r' && (*rest)[i] != '\n') value.push_back((*rest)[i]);
  }
  rest->remove_prefix(std::min(i + 1, rest->size()));
  return value;
}

bool TakeChar(absl::string_view* rest, char c) {
  SkipCfws(rest);
  if (rest->empty() || rest->front() != c) return false;
  rest->remove_prefix(1);
  SkipCfws(rest);
  return true;
}

}  // namespace

ContentType ParseContentType(absl::string_view value) {
  ContentType parsed;
  SkipCfws(&value);
  std::string type = absl::AsciiStrToLower(TakeToken(&value));
  if (type.empty() || !TakeChar(&value, '/')) return parsed;
  std::string subtype = absl::AsciiStrToLower(TakeToken(&value));
  if (subtype.empty()) return parsed;
  parsed.type = std::move(type);
  parsed.subtype = std::move(subtype);
  while (!value.empty()) {
    // What can't be read is left out, up to the next parameter.
    if (!TakeChar(&value, ';')) {
      value.remove_prefix(std::min(value.find(';'), value.size()));
      continue;
    }
    const std::string name = TakeToken(&value);
    if (name.empty() || !TakeChar(&value, '=')) continue;
    std::string text = TakeValue(&value);
    if (absl::EqualsIgnoreCase(name, "boundary") && parsed.boundary.empty())
      parsed.boundary = std::move(text);
  }
  return parsed;
}

std::string ParseMimeWord(absl::string_view value) {
  SkipCfws(&value);
  return absl::AsciiStrToLower(TakeToken(&value));
}

}  // namespace holdfast
