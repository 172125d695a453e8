#include "protocol/address_completion.h"

#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

constexpr size_t kNowhere = absl::string_view::npos;

// Goes over a header's value, telling quoted, commented and bracketed text
// from the rest.
class Lexer {
 public:
  enum class Place { kPlain, kQuoted, kComment };

  // Where the next character stands.
  Place Next(char c) {
    if (escaped_) {
      escaped_ = false;
      return place();
    }
    if (c == '\\' && place() != Place::kPlain) {
      escaped_ = true;
      return place();
    }
    if (quoted_) {
      quoted_ = c != '"';
      return Place::kQuoted;
    }
    if (c == '(') ++comments_;
    if (comments_ > 0) {
      if (c == ')') --comments_;
      return Place::kComment;
    }
    if (c == '"') {
      quoted_ = true;
      return Place::kQuoted;
    }
    return Place::kPlain;
  }
  bool Balanced() const { return !quoted_ && comments_ == 0; }

 private:
  Place place() const {
    if (quoted_) return Place::kQuoted;
    return comments_ > 0 ? Place::kComment : Place::kPlain;
  }
  bool quoted_ = false;
  bool escaped_ = false;
  int comments_ = 0;
};

// One address of the list, while it is read.
struct Element {
  size_t word_end = kNowhere;   // behind the last word outside comments
  bool bracketed = false;       // has "<"
  size_t inner_end = kNowhere;  // behind the last word inside < >
  bool has_domain = false;
};

// Where "@domain" belongs; nullopt: nowhere.
std::optional<size_t> Insertion(const Element& element) {
  if (element.has_domain) return std::nullopt;
  const size_t at = element.bracketed ? element.inner_end : element.word_end;
  if (at == kNowhere) return std::nullopt;
  return at;
}

}  // namespace

void CompleteAddresses(absl::string_view value, absl::string_view domain,
                       std::string* out) {
  Lexer lexer;
  Element element;
  bool in_brackets = false;
  std::string completed;
  size_t copied = 0;  // of value

  const auto finish_element = [&] {
    if (const std::optional<size_t> at = Insertion(element)) {
      absl::StrAppend(&completed, value.substr(copied, *at - copied), "@",
                      domain);
      copied = *at;
    }
    element = Element();
  };

  for (size_t i = 0; i < value.size(); ++i) {
    const char c = value[i];
    const Lexer::Place place = lexer.Next(c);
    if (place == Lexer::Place::kComment) continue;
    const bool plain = place == Lexer::Place::kPlain;
    if (plain && absl::ascii_isspace(static_cast<unsigned char>(c))) continue;
    if (plain && in_brackets) {
      if (c == '>') in_brackets = false;
      if (c == '@') element.has_domain = true;
      if (in_brackets) element.inner_end = i + 1;
      continue;
    }
    if (plain && c == '<') {
      in_brackets = element.bracketed = true;
      continue;
    }
    if (plain && (c == ',' || c == ';')) {
      finish_element();
      continue;
    }
    if (plain && c == ':') {
      // What came before is the name of a group.
      element = Element();
      continue;
    }
    if (plain && c == '@') element.has_domain = true;
    (in_brackets ? element.inner_end : element.word_end) = i + 1;
  }
  if (!lexer.Balanced() || in_brackets) {
    absl::StrAppend(out, value);
    return;
  }
  finish_element();
  absl::StrAppend(out, completed, value.substr(copied));
}

}  // namespace holdfast
