#include "config/parser.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "config/directives.h"
#include "config/values.h"

namespace holdfast {
namespace {

// With the longest name below it, a socket's path must fit into sockaddr_un.
constexpr size_t kMaxSpoolBytes = 85;

std::string Quoted(absl::string_view word) {
  return absl::StrCat("'", word, "'");
}

}  // namespace

DirectiveParser::DirectiveParser(const ParseOptions& options,
                                 const FileReader& read,
                                 const TableSource& tables)
    : options_(options), read_(read), tables_(tables) {
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
  NoteWord(token);
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
    return {nullptr, std::move(messages_), {}};
  }
  lexer_.PushFile(options_.path, *std::move(text));
  while (Peek().kind != Token::Kind::kEnd) {
    line_.clear();
    old_form_ = false;
    if (!ParseDirective()) FinishBadLine();
  }
  if (config_->rules.empty()) {
    ++errors_;
    messages_.push_back("warn: no rules, nothing to do");
  }
  if (errors_ == 0) CheckPkis();
  if (config_->admd.empty()) config_->admd = config_->server_name;
  if (errors_ > 0) return {nullptr, std::move(messages_), {}};
  Warn();
  return {std::move(config_), std::move(messages_), std::move(warnings_)};
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
  const bool spool = PeekWord("spool");
  const Token name = Take();
  if (!TakeChar('=')) return spool ? ParseSpool() : SyntaxError();
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
  if (Peek().kind == Token::Kind::kNumber) {
    Say("syntax error");
    Hint(absl::StrCat("a time has a unit: ", Peek().text,
                      "s, or with m, h or d"));
    return false;
  }
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

ParseResult ParseConfig(const ParseOptions& options, const FileReader& read,
                        const TableSource& tables) {
  return DirectiveParser(options, read, tables).Run();
}

}  // namespace holdfast
