// The language's grammar (envelope_filter.h).
#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/envelope_filter_node.h"
#include "protocol/envelope_filter_values.h"

namespace holdfast {
namespace {

using Kind = FilterNode::Kind;
using Op = FilterOperator;

// What is shown of a long text: columns before the caret, and in all.
constexpr size_t kColumnsBefore = 50;
constexpr size_t kColumns = 76;

// One for each column of a terminal; what would disturb it is a '?'.
std::vector<std::string> Glyphs(absl::string_view text, size_t at,
                                size_t* column) {
  std::vector<std::string> glyphs;
  *column = 0;
  for (size_t i = 0; i < text.size();) {
    if (i <= at) *column = glyphs.size();
    const auto octet = static_cast<unsigned char>(text[i]);
    size_t size = octet < 0x80                    ? 1
                  : octet >= 0xc2 && octet < 0xe0 ? 2
                  : octet >= 0xe0 && octet < 0xf0 ? 3
                  : octet >= 0xf0 && octet < 0xf5 ? 4
                                                  : 0;
    bool whole = size > 0 && i + size <= text.size();
    for (size_t k = 1; whole && k < size; ++k)
      whole = (text[i + k] & 0xc0) == 0x80;
    // C1 controls are two octets from 0xc2 0x80 to 0xc2 0x9f.
    const bool control = octet < ' ' || octet == 0x7f ||
                         (whole && octet == 0xc2 &&
                          static_cast<unsigned char>(text[i + 1]) < 0xa0);
    if (!whole) size = 1;
    glyphs.push_back(whole && !control ? std::string(text.substr(i, size))
                                       : "?");
    i += size;
  }
  if (at >= text.size()) *column = glyphs.size();
  return glyphs;
}

bool IsSpace(char c) {
  return absl::ascii_isspace(static_cast<unsigned char>(c));
}

class Parser {
 public:
  explicit Parser(absl::string_view text) : text_(text) {}

  absl::StatusOr<FilterNodePtr> Parse() {
    if (text_.size() > kMaxFilterBytes)
      return Error(kMaxFilterBytes, absl::StrCat("a filter has at most ",
                                                 kMaxFilterBytes, " octets"));
    if (AtEnd()) return FilterNodePtr();
    absl::StatusOr<FilterNodePtr> root = Terms();
    if (root.ok() && !AtEnd())
      return Error(at_, text_[at_] == ')' ? "there is no '(' for this ')'"
                                          : "expected 'and', 'or' or the end");
    return root;
  }

 private:
  using Result = absl::StatusOr<FilterNodePtr>;

  absl::Status Error(size_t at, absl::string_view what) const {
    return absl::InvalidArgumentError(FilterError(text_, at, what));
  }

  // Past blanks.
  bool AtEnd() {
    while (at_ < text_.size() && IsSpace(text_[at_])) ++at_;
    return at_ == text_.size();
  }

  bool Take(char c) {
    if (AtEnd() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  // A bare word at the present place, without taking it.
  absl::string_view Word() {
    AtEnd();
    size_t end = at_;
    while (end < text_.size() &&
           (absl::ascii_isalnum(static_cast<unsigned char>(text_[end])) ||
            text_[end] == '-' || text_[end] == '_' || text_[end] == '.'))
      ++end;
    return text_.substr(at_, end - at_);
  }

  bool TakeWord(absl::string_view word) {
    if (!absl::EqualsIgnoreCase(Word(), word)) return false;
    at_ += word.size();
    return true;
  }

  Result Terms() { return List(Kind::kOr, "or", &Parser::All); }
  Result All() { return List(Kind::kAnd, "and", &Parser::One); }

  Result List(Kind kind, absl::string_view word, Result (Parser::*part)()) {
    Result first = (this->*part)();
    if (!first.ok() || !absl::EqualsIgnoreCase(Word(), word)) return first;
    auto node = std::make_shared<FilterNode>();
    node->kind = kind;
    node->children.push_back(*std::move(first));
    while (TakeWord(word)) {
      Result next = (this->*part)();
      if (!next.ok()) return next;
      node->children.push_back(*std::move(next));
    }
    return FilterNodePtr(std::move(node));
  }

  Result One() {
    AtEnd();
    const size_t start = at_;
    const bool inverted = TakeWord("not");
    const bool inside = !inverted && Take('(');
    if (!inverted && !inside) return Comparison();
    if (++depth_ > kMaxFilterDepth)
      return Error(start, absl::StrCat("parentheses and 'not' go at most ",
                                       kMaxFilterDepth, " deep"));
    Result node = inverted ? Negation() : Parenthesis(start);
    --depth_;
    return node;
  }

  Result Negation() {
    Result inner = One();
    if (!inner.ok()) return inner;
    auto node = std::make_shared<FilterNode>();
    node->kind = Kind::kNot;
    node->children.push_back(*std::move(inner));
    return FilterNodePtr(std::move(node));
  }

  Result Parenthesis(size_t start) {
    Result inner = Terms();
    if (!inner.ok() || Take(')')) return inner;
    return AtEnd() ? Error(start, "there is no ')' for this '('")
                   : Error(at_, "expected 'and', 'or' or ')'");
  }

  Result Comparison() {
    AtEnd();
    const size_t start = at_;
    const absl::string_view name = Word();
    if (name.empty()) return Error(start, "expected a field, 'not' or '('");
    const EnvelopeFieldInfo* field = FindEnvelopeField(name);
    if (field == nullptr) return Error(start, UnknownField(name));
    if (++terms_ > kMaxFilterTerms)
      return Error(start, absl::StrCat("a filter has at most ", kMaxFilterTerms,
                                       " comparisons"));
    at_ += name.size();
    auto node = std::make_shared<FilterNode>();
    node->field = field->field;
    const absl::Status status = Rest(*field, node.get());
    if (!status.ok()) return status;
    return FilterNodePtr(std::move(node));
  }

  static std::string UnknownField(absl::string_view name) {
    const std::string near = NearEnvelopeField(name);
    return absl::StrCat(
        "there is no field '", name, "'",
        near.empty() ? "" : absl::StrCat(", did you mean '", near, "'?"));
  }

  // Operator and values.
  absl::Status Rest(const EnvelopeFieldInfo& field, FilterNode* node) {
    AtEnd();
    const size_t start = at_;
    if (TakeWord("in")) return Values(field, node);
    if (TakeWord("not")) {
      node->op = Op::kNotEqual;
      if (!TakeWord("in")) return Error(at_, "expected 'in'");
      return Values(field, node);
    }
    static constexpr struct {
      absl::string_view text;
      Op op;
      bool pattern = false;
      bool any_case = false;
    } kOperators[] = {
        // Longer ones first.
        {"!~*", Op::kMatchesNot, true, true},
        {"!~", Op::kMatchesNot, true},
        {"~*", Op::kMatches, true, true},
        {"!=", Op::kNotEqual},
        {"<=", Op::kLessEqual},
        {">=", Op::kGreaterEqual},
        {"~", Op::kMatches, true},
        {"==", Op::kEqual},
        {"=", Op::kEqual},
        {"<", Op::kLess},
        {">", Op::kGreater},
    };
    for (const auto& one : kOperators) {
      if (!absl::StartsWith(text_.substr(at_), one.text)) continue;
      at_ += one.text.size();
      node->op = one.op;
      if (one.pattern) return Pattern(field, start, one.any_case, node);
      if (one.op != Op::kEqual && one.op != Op::kNotEqual && !HasOrder(field))
        return Error(start, absl::StrCat("'", one.text, "' does not go with '",
                                         field.name, "', which has no order: ",
                                         "expected = != ~ !~ or 'in'"));
      return Value(field, node);
    }
    return Error(start, absl::StrCat("expected one of = !=",
                                     HasOrder(field) ? " < <= > >=" : "",
                                     HasText(field) ? " ~ !~" : "",
                                     " or 'in' after '", field.name, "'"));
  }

  static bool HasOrder(const EnvelopeFieldInfo& field) {
    return field.type != FieldType::kText && field.type != FieldType::kWord &&
           field.type != FieldType::kWords;
  }

  static bool HasText(const EnvelopeFieldInfo& field) {
    return !HasOrder(field) || field.type == FieldType::kId ||
           field.type == FieldType::kStatus;
  }

  absl::Status Values(const EnvelopeFieldInfo& field, FilterNode* node) {
    AtEnd();
    const size_t start = at_;
    if (!Take('('))
      return Error(start, "expected '(' and values with commas between them");
    do {
      if (node->values.size() == kMaxFilterValues)
        return Error(at_, absl::StrCat("a list has at most ", kMaxFilterValues,
                                       " values"));
      const absl::Status status = Value(field, node);
      if (!status.ok()) return status;
    } while (Take(','));
    if (Take(')')) return absl::OkStatus();
    return AtEnd() ? Error(start, "there is no ')' for this '('")
                   : Error(at_, "expected ',' or ')'");
  }

  absl::Status Value(const EnvelopeFieldInfo& field, FilterNode* node) {
    AtEnd();
    const size_t start = at_;
    absl::StatusOr<std::string> text = Text();
    if (!text.ok()) return text.status();
    absl::StatusOr<FilterValue> value = ParseFilterValue(field, *text);
    if (!value.ok()) return Error(start, std::string(value.status().message()));
    node->values.push_back(*std::move(value));
    return absl::OkStatus();
  }

  absl::Status Pattern(const EnvelopeFieldInfo& field, size_t start,
                       bool any_case, FilterNode* node) {
    if (!HasText(field))
      return Error(start, absl::StrCat("'~' does not go with '", field.name,
                                       "', which is a number"));
    AtEnd();
    const size_t value = at_;
    absl::StatusOr<std::string> text = Text();
    if (!text.ok()) return text.status();
    if (++patterns_ > kMaxFilterPatterns)
      return Error(value, absl::StrCat("a filter has at most ",
                                       kMaxFilterPatterns, " patterns"));
    RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(kMaxPatternMemory);
    options.set_case_sensitive(!any_case);
    // What hosts answer may be in any encoding.
    options.set_encoding(RE2::Options::EncodingLatin1);
    auto pattern = std::make_unique<const RE2>(*text, options);
    if (!pattern->ok())
      return Error(
          value, absl::StrCat("not a regular expression: ", pattern->error()));
    node->pattern = std::move(pattern);
    return absl::OkStatus();
  }

  // A word or what stands between quotes.
  absl::StatusOr<std::string> Text() {
    if (AtEnd()) return Error(at_, "expected a value");
    const char first = text_[at_];
    if (first == '"' || first == '\'') return Quoted(first);
    const size_t start = at_;
    while (at_ < text_.size() && !IsSpace(text_[at_]) &&
           absl::string_view("(),\"'").find(text_[at_]) ==
               absl::string_view::npos)
      ++at_;
    if (at_ == start) return Error(at_, "expected a value");
    return std::string(text_.substr(start, at_ - start));
  }

  // In double quotes a backslash goes before '"' and itself; before other
  // characters it stays, as patterns want it.
  absl::StatusOr<std::string> Quoted(char quote) {
    const size_t start = at_++;
    std::string value;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == quote) {
        ++at_;
        return value;
      }
      const bool escape = c == '\\' && quote == '"' && at_ + 1 < text_.size() &&
                          (text_[at_ + 1] == '"' || text_[at_ + 1] == '\\');
      value += escape ? text_[++at_] : c;
    }
    return Error(start, "this quote is not closed");
  }

  const absl::string_view text_;
  size_t at_ = 0;
  size_t depth_ = 0;
  size_t terms_ = 0;
  size_t patterns_ = 0;
};

}  // namespace

std::string FilterError(absl::string_view text, size_t at,
                        absl::string_view what) {
  size_t column = 0;
  const std::vector<std::string> glyphs = Glyphs(text, at, &column);
  const size_t from = column > kColumnsBefore ? column - kColumnsBefore : 0;
  const size_t to = std::min(glyphs.size(), from + kColumns);
  std::string shown = from > 0 ? "..." : "";
  const size_t caret = shown.size() + column - from;
  for (size_t i = from; i < to; ++i) shown += glyphs[i];
  if (to < glyphs.size()) shown += "...";
  std::string clean;
  size_t ignored = 0;
  for (const std::string& glyph : Glyphs(what, 0, &ignored)) clean += glyph;
  return absl::StrCat(clean, "\n  ", shown, "\n  ", std::string(caret, ' '),
                      "^");
}

absl::StatusOr<FilterNodePtr> ParseFilter(absl::string_view text) {
  return Parser(text).Parse();
}

}  // namespace holdfast
