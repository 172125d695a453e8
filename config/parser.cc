#include "config/parser.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config/directives.h"
#include "config/hints.h"
#include "config/values.h"

namespace holdfast {
namespace {

// With the longest name below it, a socket's path must fit into sockaddr_un.
constexpr size_t kMaxSpoolBytes = 85;

std::string Quoted(absl::string_view word) {
  return absl::StrCat("'", word, "'");
}

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
  std::string text = absl::CHexEscape(token.text.substr(0, kMost));
  if (token.text.size() > kMost) text += "...";
  return token.quoted ? absl::StrCat("\"", text, "\"") : Quoted(text);
}

}  // namespace

DirectiveParser::DirectiveParser(const ParseOptions& options,
                                 const FileReader& read)
    : options_(options), read_(read) {
  config_->server_name = options.server_name;
  config_->socket_listener.socket = true;
  config_->socket_listener.position = {options.path, 0};
}

const Token& DirectiveParser::Peek() {
  if (!next_) next_ = lexer_.Next();
  return *next_;
}

Token DirectiveParser::Take() {
  Peek();
  Token token = std::move(*next_);
  next_.reset();
  expected_.clear();
  return token;
}

bool DirectiveParser::PeekString() {
  expected_.push_back("a string");
  return Peek().kind == Token::Kind::kString;
}

bool DirectiveParser::PeekNumber() {
  expected_.push_back("a number");
  return Peek().kind == Token::Kind::kNumber;
}

bool DirectiveParser::PeekKeyword(absl::string_view word) {
  expected_.push_back(Quoted(word));
  return Peek().IsKeyword(word);
}

bool DirectiveParser::PeekAnyKeyword(
    std::initializer_list<absl::string_view> words) {
  bool found = false;
  for (const absl::string_view word : words) {
    if (PeekKeyword(word)) found = true;
  }
  return found;
}

bool DirectiveParser::PeekWord(absl::string_view word) {
  expected_.push_back(Quoted(word));
  return Peek().IsBareWord(word);
}

bool DirectiveParser::PeekChar(char c) {
  expected_.push_back(Quoted(absl::string_view(&c, 1)));
  return Peek().Is(c);
}

bool DirectiveParser::TakeKeyword(absl::string_view word) {
  if (!PeekKeyword(word)) return false;
  Take();
  return true;
}

bool DirectiveParser::TakeWord(absl::string_view word) {
  if (!PeekWord(word)) return false;
  Take();
  return true;
}

bool DirectiveParser::TakeChar(char c) {
  if (!PeekChar(c)) return false;
  Take();
  return true;
}

bool DirectiveParser::ExpectKeyword(absl::string_view word) {
  return TakeKeyword(word) || SyntaxError();
}

bool DirectiveParser::ExpectString(std::string* text) {
  if (!PeekString()) return SyntaxError();
  *text = Take().text;
  return true;
}

bool DirectiveParser::ExpectNumber(int64_t* number) {
  if (!PeekNumber()) return SyntaxError();
  *number = Take().number;
  return true;
}

void DirectiveParser::SkipNewlines() {
  while (Peek().kind == Token::Kind::kNewline) Take();
}

// To the end of the present line, or of the line that the lexer gave up.
void DirectiveParser::SkipLine() {
  while (true) {
    const Token token = Take();
    switch (token.kind) {
      case Token::Kind::kError:
        if (!token.text.empty()) Say(token.text);
        return;
      case Token::Kind::kNewline:
      case Token::Kind::kEnd:
        return;
      default:
        break;
    }
  }
}

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
        Hint(absl::StrCat("a reserved word as a name or value: \"", token.text,
                          "\""));
      return HintNear(token.text, words);
    case Token::Kind::kNumber:
      if (string)
        Hint(absl::StrCat("a number as a name or value: \"", token.text, "\""));
      return;
    case Token::Kind::kChar:
      if (string && absl::StrContains("/@~[*%.-", token.text)) {
        Hint(absl::StrCat("what begins with ", token.text,
                          " must stand in quotes"));
      }
      return;
    default:
      return;
  }
}

bool DirectiveParser::NotYet(absl::string_view what) {
  Say(absl::StrCat(what, " does not work in this version yet"));
  return true;
}

void DirectiveParser::DefineMacros() {
  for (const std::string& definition : options_.definitions) {
    const size_t equals = definition.rfind('=');
    if (equals == std::string::npos) {
      messages_.push_back(
          absl::StrCat("warn: could not parse macro definition ", definition));
      continue;
    }
    lexer_.Define(definition.substr(0, equals), definition.substr(equals + 1),
                  /*persistent=*/true);
  }
}

ParseResult DirectiveParser::Run() {
  DefineMacros();
  AddBuiltinTables();
  absl::StatusOr<std::string> text = read_(options_.path);
  if (!text.ok()) {
    messages_.push_back(absl::StrCat("pushfile: ", options_.path, ": ",
                                     text.status().message()));
    return {nullptr, std::move(messages_)};
  }
  lexer_.PushFile(options_.path, *std::move(text));
  while (Peek().kind != Token::Kind::kEnd) {
    if (!ParseDirective()) SkipLine();
  }
  if (config_->rules.empty()) {
    ++errors_;
    messages_.push_back("warn: no rules, nothing to do");
  }
  if (errors_ == 0) CheckPkis();
  if (config_->admd.empty()) config_->admd = config_->server_name;
  if (errors_ > 0) return {nullptr, std::move(messages_)};
  return {std::move(config_), std::move(messages_)};
}

bool DirectiveParser::ParseDirective() {
  expected_.clear();
  if (Peek().kind == Token::Kind::kNewline) {
    Take();
    return true;
  }
  // The files that it includes begin where the name ends.
  if (TakeKeyword("include")) return ParseInclude();
  bool ok = false;
  if (Peek().kind == Token::Kind::kString) {
    ok = ParseWordDirective();
  } else {
    ok = ParseKeywordDirective();
  }
  if (!ok) return false;
  if (Peek().kind != Token::Kind::kNewline &&
      Peek().kind != Token::Kind::kEnd) {
    expected_.push_back("the end of the line");
    return SyntaxError();
  }
  Take();
  return true;
}

bool DirectiveParser::ParseWordDirective() {
  const Token name = Take();
  if (!TakeChar('=')) {
    return name.IsBareWord("spool") ? ParseSpool() : SyntaxError();
  }
  std::string value;
  if (!ExpectString(&value)) return false;
  for (const char c : name.text) {
    if (absl::ascii_isspace(static_cast<unsigned char>(c))) {
      return Fail("macro name cannot contain whitespace");
    }
  }
  lexer_.Define(name.text, value, /*persistent=*/false);
  return true;
}

bool DirectiveParser::ParseKeywordDirective() {
  struct Directive {
    absl::string_view word;
    bool (DirectiveParser::*parse)();
  };
  static constexpr Directive kDirectives[] = {
      {"action", &DirectiveParser::ParseAction},
      {"admd", &DirectiveParser::ParseAdmd},
      {"bounce", &DirectiveParser::ParseBounce},
      {"ca", &DirectiveParser::ParseCa},
      {"filter", &DirectiveParser::ParseFilter},
      {"listen", &DirectiveParser::ParseListen},
      {"match", &DirectiveParser::ParseMatch},
      {"mda", &DirectiveParser::ParseMda},
      {"mta", &DirectiveParser::ParseMta},
      {"pki", &DirectiveParser::ParsePki},
      {"proc", &DirectiveParser::ParseProc},
      {"queue", &DirectiveParser::ParseQueue},
      {"scheduler", &DirectiveParser::ParseScheduler},
      {"smtp", &DirectiveParser::ParseSmtp},
      {"srs", &DirectiveParser::ParseSrs},
      {"table", &DirectiveParser::ParseTable},
  };
  for (const Directive& directive : kDirectives) {
    if (TakeKeyword(directive.word)) return (this->*directive.parse)();
  }
  return SyntaxError();
}

bool DirectiveParser::ParseInclude() {
  std::string path;
  if (!ExpectString(&path)) return false;
  absl::StatusOr<std::string> text =
      absl::ResourceExhaustedError("Too many open files");
  if (lexer_.depth() < kMaxIncludeDepth && includes_ < kMaxIncludes) {
    text = read_(path);
  }
  if (!text.ok()) {
    messages_.push_back(
        absl::StrCat("pushfile: ", path, ": ", text.status().message()));
    return Fail(absl::StrCat("failed to include file ", path));
  }
  ++includes_;
  lexer_.PushFile(path, *std::move(text));
  return true;
}

bool DirectiveParser::ParseSpool() {
  std::string path;
  if (!ExpectString(&path)) return false;
  if (path.empty() || path[0] != '/') {
    return Fail(absl::StrCat("spool must be an absolute path: ", path));
  }
  if (path.size() > kMaxSpoolBytes) {
    return Fail(absl::StrCat("spool path too long: ", path));
  }
  config_->spool = path;
  return true;
}

bool DirectiveParser::ExpectDelay(absl::string_view error,
                                  absl::Duration* delay) {
  std::string text;
  if (!ExpectString(&text)) return false;
  const std::optional<absl::Duration> parsed = ParseDelay(text);
  if (!parsed) return Fail(absl::StrCat(error, ": ", text));
  *delay = *parsed;
  return true;
}

bool DirectiveParser::ExpectSize(absl::string_view error, uint64_t* size) {
  if (!PeekString() && !PeekNumber()) return SyntaxError();
  const std::string text = Take().text;
  const std::optional<uint64_t> parsed = ParseSize(text);
  if (!parsed) return Fail(absl::StrCat(error, ": ", text));
  *size = *parsed;
  return true;
}

ParseResult ParseConfig(const ParseOptions& options, const FileReader& read) {
  return DirectiveParser(options, read).Run();
}

}  // namespace holdfast
