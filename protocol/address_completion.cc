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
  size_t word_begin = kNowhere;   // of the last word outside comments
  size_t word_end = kNowhere;     // behind it
  bool bracketed = false;         // has "<"
  size_t inner_begin = kNowhere;  // of what stands inside < >
  size_t inner_end = kNowhere;    // behind it
  bool has_domain = false;
};

// What of the value gives way to the new text; begin == end: nothing does.
struct Span {
  size_t begin = 0;
  size_t end = 0;
};

// The place for "@domain"; nullopt: none.
std::optional<Span> Insertion(const Element& element) {
  if (element.has_domain) return std::nullopt;
  const size_t at = element.bracketed ? element.inner_end : element.word_end;
  if (at == kNowhere) return std::nullopt;
  return Span{at, at};
}

// The address itself; nullopt: there is none.
std::optional<Span> Address(const Element& element) {
  const Span span = element.bracketed
                        ? Span{element.inner_begin, element.inner_end}
                        : Span{element.word_begin, element.word_end};
  if (span.begin == kNowhere) return std::nullopt;
  return span;
}

// Puts `text` into each element of the list, where `place` says.  False, and
// nothing is appended: the value was not understood.
bool Edit(absl::string_view value, absl::string_view text,
          std::optional<Span> (*place)(const Element&), std::string* out) {
  Lexer lexer;
  Element element;
  bool in_brackets = false;
  bool in_word = false;
  std::string edited;
  size_t copied = 0;  // of value

  const auto finish_element = [&] {
    if (const std::optional<Span> span = place(element)) {
      absl::StrAppend(&edited, value.substr(copied, span->begin - copied),
                      text);
      copied = span->end;
    }
    element = Element();
    in_word = false;
  };

  for (size_t i = 0; i < value.size(); ++i) {
    const char c = value[i];
    const Lexer::Place where = lexer.Next(c);
    const bool plain = where == Lexer::Place::kPlain;
    if (where == Lexer::Place::kComment ||
        (plain && absl::ascii_isspace(static_cast<unsigned char>(c)))) {
      in_word = false;
      continue;
    }
    if (plain && in_brackets && c == '>') {
      in_brackets = false;
      continue;
    }
    if (plain && !in_brackets) {
      if (c == '<') {
        in_brackets = element.bracketed = true;
        continue;
      }
      if (c == ',' || c == ';') {
        finish_element();
        continue;
      }
      if (c == ':') {
        // What came before is the name of a group.
        element = Element();
        in_word = false;
        continue;
      }
    }
    if (plain && c == '@') element.has_domain = true;
    if (in_brackets) {
      if (element.inner_begin == kNowhere) element.inner_begin = i;
      element.inner_end = i + 1;
    } else {
      if (!in_word) element.word_begin = i;
      in_word = true;
      element.word_end = i + 1;
    }
  }
  if (!lexer.Balanced() || in_brackets) return false;
  finish_element();
  absl::StrAppend(out, edited, value.substr(copied));
  return true;
}

}  // namespace

void CompleteAddresses(absl::string_view value, absl::string_view domain,
                       std::string* out) {
  if (!Edit(value, absl::StrCat("@", domain), Insertion, out))
    absl::StrAppend(out, value);
}

void ReplaceAddresses(absl::string_view value, absl::string_view address,
                      std::string* out) {
  if (!Edit(value, address, Address, out))
    absl::StrAppend(out, " ", address, "\n");
}

}  // namespace holdfast
