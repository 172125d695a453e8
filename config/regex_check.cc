#include "config/regex_check.h"

#include <re2/re2.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace holdfast {
namespace {

// Reads a pattern from left to right and stops at the first concern.
class Reader {
 public:
  explicit Reader(absl::string_view pattern) : rest_(pattern) {}

  std::string Concern() {
    while (!rest_.empty()) {
      std::string concern;
      if (rest_[0] == '\\') {
        concern = Escape();
      } else if (rest_[0] == '[') {
        concern = Bracket();
      } else {
        concern = Operator();
      }
      if (!concern.empty()) return concern;
    }
    return "";
  }

 private:
  char At(size_t i) const { return i < rest_.size() ? rest_[i] : '\0'; }

  std::string Escape() {
    const char next = At(1);
    rest_.remove_prefix(rest_.size() > 1 ? 2 : 1);
    repeatable_ = true;
    repeated_ = false;
    if (next >= '1' && next <= '9') return "a back reference never matches";
    if (next == '<' || next == '>') {
      return absl::StrCat("\\", std::string(1, next),
                          " is not known; a word's border is \\b");
    }
    if (absl::ascii_isalnum(static_cast<unsigned char>(next))) {
      const std::string letter(1, next);
      return absl::StrCat("\\", letter,
                          " is a class or an anchor here and the "
                          "letter ",
                          letter, " with OpenSMTPD");
    }
    return "";
  }

  // [...], at its '['.
  std::string Bracket() {
    repeatable_ = true;
    repeated_ = false;
    size_t i = 1;
    if (At(i) == '^') ++i;
    if (At(i) == ']') ++i;
    for (; i < rest_.size() && rest_[i] != ']'; ++i) {
      if (rest_[i] == '\\') {
        return "a backslash in brackets quotes here and is itself with "
               "OpenSMTPD";
      }
      if (rest_[i] != '[') continue;
      const char kind = At(i + 1);
      if (kind == '=' || kind == '.') {
        return "[= =] and [. .] are not known";
      }
      if (kind != ':') continue;
      const absl::string_view named = rest_.substr(i);
      if (absl::StartsWith(named, "[:<:]") ||
          absl::StartsWith(named, "[:>:]")) {
        return "[[:<:]] and [[:>:]] are not known; a word's border is \\b";
      }
      const size_t end = rest_.find(":]", i + 2);
      if (end == absl::string_view::npos) break;
      i = end + 1;
    }
    rest_.remove_prefix(std::min(i + 1, rest_.size()));
    return "";
  }

  std::string Operator() {
    const char c = rest_[0];
    rest_.remove_prefix(1);
    if (c == '(' && At(0) == '?') {
      return "(? begins a group with flags here and is an error with OpenSMTPD";
    }
    if (c == '{' && repeatable_ && At(0) == ',') {
      return "{,N} is taken as it stands here; write {0,N}";
    }
    if (c == '?' && repeated_) {
      return "a second ? after a repetition makes it shorter here and is "
             "another repetition with OpenSMTPD";
    }
    repeated_ = c == '*' || c == '+' || c == '?' || (c == '}' && repeatable_);
    repeatable_ = c != '(' && c != '|';
    return "";
  }

  absl::string_view rest_;
  bool repeatable_ = false;  // something that a repetition may follow
  bool repeated_ = false;
};

}  // namespace

re2::RE2::Options RegexOptions(int64_t memory) {
  re2::RE2::Options options;
  options.set_case_sensitive(false);
  options.set_log_errors(false);
  options.set_encoding(re2::RE2::Options::EncodingLatin1);
  options.set_max_mem(memory);
  return options;
}

std::string RegexConcern(absl::string_view pattern) {
  // OpenSMTPD knows these flags at the beginning, and no others.
  absl::string_view rest = pattern;
  absl::ConsumePrefix(&rest, "(?i)");
  const std::string concern = Reader(rest).Concern();
  if (!concern.empty()) return concern;
  const re2::RE2 compiled(std::string(pattern),
                          RegexOptions(kMaxPatternMemory));
  if (compiled.ok()) return "";
  return absl::StrCat("it never matches: ", compiled.error());
}

}  // namespace holdfast
