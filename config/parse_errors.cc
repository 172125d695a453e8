// What is said about a line that is wrong (reference part 1, section 1.3), and
// what is said below it to help.
#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config/directives.h"
#include "config/hints.h"
#include "config/old_syntax.h"

namespace holdfast {
namespace {

// Words of a line that are kept for the hint of a newer form.
constexpr size_t kMostWords = 100;

// A token as an error names it.
std::string Describe(const Token& token) {
  constexpr size_t kMost = 64;
  switch (token.kind) {
    case Token::Kind::kEnd:
      return "the end of the file";
    case Token::Kind::kNewline:
      return "the end of the line";
    case Token::Kind::kArrow:
      return "'=>'";
    case Token::Kind::kError:
      return "no token";
    default:
      break;
  }
  std::string text = Printable(token.text.substr(0, kMost));
  if (token.text.size() > kMost) text += "...";
  return token.quoted ? absl::StrCat("\"", text, "\"")
                      : absl::StrCat("'", text, "'");
}

}  // namespace

void DirectiveParser::Say(absl::string_view message) {
  ++errors_;
  const SourcePosition& at = lexer_.position();
  messages_.push_back(absl::StrCat(at.file, ":", at.line, ": ", message));
}

bool DirectiveParser::Fail(absl::string_view message) {
  Say(message);
  return false;
}

bool DirectiveParser::SyntaxError() {
  if (Peek().kind == Token::Kind::kError) {
    if (!Peek().text.empty()) Say(next_->text);
    next_->text.clear();
    return Fail("syntax error");
  }
  old_form_ = true;
  Say("syntax error");
  HintExpected(Peek());
  return false;
}

bool DirectiveParser::FailPlain(absl::string_view message) {
  ++errors_;
  messages_.push_back(absl::StrCat("smtpd: ", message));
  return false;
}

bool DirectiveParser::FailWithHint(absl::string_view message,
                                   absl::string_view word,
                                   const std::vector<std::string>& candidates) {
  Say(message);
  HintNear(word, candidates);
  return false;
}

bool DirectiveParser::FailUnknownName(
    absl::string_view message, const std::string& name,
    const std::vector<std::string>& candidates) {
  ++errors_;
  messages_.push_back(absl::StrCat(message, name));
  messages_.push_back("smtpd");
  HintPosition();
  HintNear(name, candidates);
  return false;
}

void DirectiveParser::Hint(absl::string_view text) {
  messages_.push_back(absl::StrCat("    ", text));
}

void DirectiveParser::HintPosition() {
  const SourcePosition& at = lexer_.position();
  Hint(absl::StrCat("at ", at.file, ":", at.line));
}

void DirectiveParser::HintNear(absl::string_view word,
                               const std::vector<std::string>& candidates) {
  const std::string meant = NearMiss(word, candidates);
  if (!meant.empty()) Hint(absl::StrCat("did you mean '", meant, "'?"));
}

// What stands at `token` and what could stand there.
void DirectiveParser::HintExpected(const Token& token) {
  Hint(absl::StrCat("found ", Describe(token)));
  std::vector<std::string> unique;
  std::vector<std::string> words;
  bool string = false;
  for (const std::string& one : expected_) {
    if (std::find(unique.begin(), unique.end(), one) != unique.end()) continue;
    unique.push_back(one);
    if (one[0] == '\'') words.push_back(one.substr(1, one.size() - 2));
    if (one == "a string") string = true;
  }
  if (line_.size() == 1 && unique == std::vector<std::string>{"'='"}) {
    return HintDirective();
  }
  if (!unique.empty()) {
    Hint(absl::StrCat("expected ", absl::StrJoin(unique, ", ")));
  }
  switch (token.kind) {
    case Token::Kind::kString:
      if (!token.quoted) return HintNear(token.text, words);
      if (std::find(words.begin(), words.end(), token.text) != words.end()) {
        Hint("without quotes it is the word that is meant here");
      }
      return;
    case Token::Kind::kKeyword:
      if (string)
        Hint(absl::StrCat("a reserved word must be quoted here: \"", token.text,
                          "\""));
      return HintNear(token.text, words);
    case Token::Kind::kNumber:
      if (string)
        Hint(
            absl::StrCat("a number must be quoted here: \"", token.text, "\""));
      return;
    case Token::Kind::kChar:
      // The word before may have been taken for a name.
      if (line_.size() > 1) HintNear(line_.back(), words);
      if (string && absl::StrContains("/@~[*%.-", token.text)) {
        Hint(absl::StrCat("what begins with ", token.text,
                          " must stand in quotes"));
      }
      return;
    default:
      return;
  }
}

// A line that begins with a word of its own is a macro, or no directive.
void DirectiveParser::HintDirective() {
  Hint("expected a directive, or '=' behind the name of a macro");
  HintNear(line_[0], {"action", "admd", "bounce", "ca", "filter", "include",
                      "listen", "match", "mda", "mta", "pki", "proc", "queue",
                      "scheduler", "smtp", "spool", "srs", "table"});
}

void DirectiveParser::NoteWord(const Token& token) {
  switch (token.kind) {
    case Token::Kind::kNewline:
    case Token::Kind::kEnd:
    case Token::Kind::kError:
      return;
    default:
      break;
  }
  if (line_.size() >= kMostWords) return;
  if (token.kind == Token::Kind::kArrow) {
    line_.push_back("=>");
  } else if (token.Is('>') || (!line_.empty() && line_.back() == "<")) {
    if (line_.empty()) line_.emplace_back();
    absl::StrAppend(&line_.back(), token.text);
  } else {
    line_.push_back(token.quoted ? absl::StrCat("\"", token.text, "\"")
                                 : token.text);
  }
}

// Skips what is left of the line; only the whole of it shows whether it is of
// the syntax before 6.4.
void DirectiveParser::FinishBadLine() {
  const size_t at = messages_.size();
  SkipLine();
  if (!old_form_) return;
  std::vector<std::string> hints;
  for (const std::string& line : NewForm(line_)) {
    hints.push_back(absl::StrCat("        ", Printable(line)));
  }
  if (hints.empty()) return;
  hints.insert(hints.begin(),
               "    this is of the syntax before 6.4; now it is:");
  messages_.insert(messages_.begin() + at, hints.begin(), hints.end());
}

}  // namespace holdfast
