#include "protocol/address_list.h"

#include "absl/strings/ascii.h"

namespace holdfast {
namespace {

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// Reads one list.  What it gathers in `spec_` is either the words of a phrase,
// which '<' makes irrelevant, or an address.
class Parser {
 public:
  explicit Parser(absl::string_view text) : text_(text) {}

  bool Run() {
    while (at_ < text_.size())
      if (!Step()) return false;
    return !in_group_ && Finish();
  }
  std::vector<std::string>&& addresses() { return std::move(addresses_); }

 private:
  enum class Angle { kNone, kOpen, kClosed };

  bool Step() {
    const char c = text_[at_];
    if (IsBlank(c)) {
      spaced_ = true;
      ++at_;
      return true;
    }
    switch (c) {
      case '(':
        spaced_ = true;
        return SkipComment();
      case '"':
        return Quoted('"');
      case '[':
        return Quoted(']');
      case '<':
        return Open();
      case '>':
        return Close();
      case ',':
        ++at_;
        return Finish();
      case ':':
        return Colon();
      case ';':
        return EndOfGroup();
      case ')':
      case ']':
      case '\\':
        return false;
      default:
        return Character(c);
    }
  }

  bool SkipComment() {
    int depth = 0;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (absl::ascii_iscntrl(c) && !IsBlank(c)) return false;
      if (c == '\\') {
        ++at_;
      } else if (c == '(') {
        ++depth;
      } else if (c == ')' && --depth == 0) {
        ++at_;
        return true;
      }
    }
    return false;
  }

  // A quoted string or a domain literal, kept with its delimiters.
  bool Quoted(char end) {
    if (!BeforeWord(text_[at_])) return false;
    spec_ += text_[at_++];
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (absl::ascii_iscntrl(c) && c != '\t') return false;
      spec_ += c;
      if (c == end) {
        ++at_;
        return true;
      }
      if (c != '\\') continue;
      if (++at_ == text_.size() || absl::ascii_iscntrl(text_[at_]))
        return false;
      spec_ += text_[at_];
    }
    return false;
  }

  bool Character(char c) {
    if (absl::ascii_iscntrl(c) || !BeforeWord(c)) return false;
    if (c == '@') at_sign_ = spec_.size();
    if (c == '@') ++at_signs_;
    spec_ += c;
    ++at_;
    return true;
  }

  // Notes words that stand side by side: fine in a phrase only.
  bool BeforeWord(char c) {
    if (angle_ == Angle::kClosed) return false;
    if (spaced_ && !spec_.empty() && c != '.' && c != '@' &&
        spec_.back() != '.' && spec_.back() != '@')
      words_apart_ = true;
    spaced_ = false;
    return true;
  }

  bool Open() {
    if (angle_ != Angle::kNone) return false;
    angle_ = Angle::kOpen;
    ++at_;
    Forget();
    return true;
  }

  bool Close() {
    if (angle_ != Angle::kOpen) return false;
    angle_ = Angle::kClosed;
    spaced_ = false;
    ++at_;
    return !spec_.empty();
  }

  // Ends a route inside <...>, begins a group outside.
  bool Colon() {
    ++at_;
    if (angle_ == Angle::kOpen) {
      if (spec_.empty() || spec_[0] != '@') return false;
      Forget();
      return true;
    }
    if (in_group_ || angle_ != Angle::kNone || spec_.empty()) return false;
    in_group_ = true;
    Forget();
    return true;
  }

  bool EndOfGroup() {
    if (!in_group_) return false;
    in_group_ = false;
    ++at_;
    return Finish();
  }

  bool Finish() {
    if (angle_ == Angle::kOpen) return false;
    if (!spec_.empty()) {
      if (words_apart_ || at_signs_ > 1 || spec_.size() > kMaxListedAddress)
        return false;
      if (at_signs_ == 1 && (at_sign_ == 0 || at_sign_ + 1 == spec_.size()))
        return false;
      addresses_.push_back(spec_);
    }
    angle_ = Angle::kNone;
    Forget();
    return true;
  }

  void Forget() {
    spec_.clear();
    spaced_ = words_apart_ = false;
    at_signs_ = 0;
  }

  absl::string_view text_;
  size_t at_ = 0;
  std::vector<std::string> addresses_;
  std::string spec_;
  Angle angle_ = Angle::kNone;
  bool in_group_ = false;
  bool spaced_ = false;       // blanks or a comment came last
  bool words_apart_ = false;  // spec_ is a phrase, not an address
  int at_signs_ = 0;
  size_t at_sign_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<std::string>> ParseAddressList(
    absl::string_view text) {
  Parser parser(text);
  if (!parser.Run())
    return absl::InvalidArgumentError("syntax error in address");
  return parser.addresses();
}

}  // namespace holdfast
