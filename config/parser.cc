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
  return token;
}

bool DirectiveParser::TakeKeyword(absl::string_view word) {
  if (!PeekKeyword(word)) return false;
  Take();
  return true;
}

bool DirectiveParser::TakeChar(char c) {
  if (!Peek().Is(c)) return false;
  Take();
  return true;
}

bool DirectiveParser::ExpectKeyword(absl::string_view word) {
  return TakeKeyword(word) || SyntaxError();
}

bool DirectiveParser::ExpectString(std::string* text) {
  if (Peek().kind != Token::Kind::kString) return SyntaxError();
  *text = Take().text;
  return true;
}

bool DirectiveParser::ExpectNumber(int64_t* number) {
  if (Peek().kind != Token::Kind::kNumber) return SyntaxError();
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
  if (Peek().kind == Token::Kind::kError && !Peek().text.empty()) {
    Say(next_->text);
    next_->text.clear();
  }
  return Fail("syntax error");
}

bool DirectiveParser::Abort(absl::string_view message) {
  ++errors_;
  aborted_ = true;
  messages_.push_back(absl::StrCat("smtpd: ", message));
  return false;
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
  while (!aborted_ && Peek().kind != Token::Kind::kEnd) {
    if (!ParseDirective() && !aborted_) SkipLine();
  }
  if (!aborted_ && config_->rules.empty()) {
    ++errors_;
    messages_.push_back("warn: no rules, nothing to do");
  }
  if (config_->admd.empty()) config_->admd = config_->server_name;
  if (errors_ > 0) return {nullptr, std::move(messages_)};
  return {std::move(config_), std::move(messages_)};
}

bool DirectiveParser::ParseDirective() {
  if (Peek().kind == Token::Kind::kNewline) {
    Take();
    return true;
  }
  // The files that it includes begin where the name ends.
  if (TakeKeyword("include")) return ParseInclude();
  bool ok = false;
  if (Peek().kind == Token::Kind::kString) {
    ok = ParseWordDirective();
  } else if (Peek().kind == Token::Kind::kKeyword) {
    ok = ParseKeywordDirective(Take().text);
  } else {
    return SyntaxError();
  }
  if (!ok) return false;
  if (Peek().kind != Token::Kind::kNewline &&
      Peek().kind != Token::Kind::kEnd) {
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

bool DirectiveParser::ParseKeywordDirective(const std::string& word) {
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
    if (directive.word == word) return (this->*directive.parse)();
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
  const Token::Kind kind = Peek().kind;
  if (kind != Token::Kind::kString && kind != Token::Kind::kNumber) {
    return SyntaxError();
  }
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
