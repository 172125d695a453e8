#include "config/lexer.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

// What GetRaw() gives besides characters.
constexpr int kEndOfFile = -1;
// In the pushed back characters only: around the text of a macro.
constexpr int kMacroBegins = 256;
constexpr int kMacroEnds = 257;

constexpr absl::string_view kReserved[] = {
    "action",
    "admd",
    "alias",
    "any",
    "auth",
    "auth-optional",
    "backup",
    "bounce",
    "bypass",
    "ca",
    "cert",
    "chain",
    "chroot",
    "ciphers",
    "commit",
    "compression",
    "connect",
    "data",
    "data-line",
    "dhe",
    "disconnect",
    "domain",
    "ehlo",
    "encryption",
    "expand-only",
    "fcrdns",
    "filter",
    "for",
    "forward-only",
    "from",
    "group",
    "helo",
    "helo-src",
    "host",
    "hostname",
    "hostnames",
    "include",
    "inet4",
    "inet6",
    "junk",
    "key",
    "limit",
    "listen",
    "lmtp",
    "local",
    "mail-from",
    "maildir",
    "mask-src",
    "masquerade",
    "match",
    "max-deferred",
    "max-message-size",
    "mbox",
    "mda",
    "mta",
    "mx",
    "no-dsn",
    "no-verify",
    "noop",
    "on",
    "phase",
    "pki",
    "port",
    "proc",
    "proc-exec",
    "protocols",
    "proxy-v2",
    "queue",
    "quit",
    "rcpt-to",
    "rdns",
    "received-auth",
    "recipient",
    "regex",
    "reject",
    "relay",
    "report",
    "rewrite",
    "rset",
    "scheduler",
    "senders",
    "smtp",
    "smtp-in",
    "smtp-out",
    "smtps",
    "socket",
    "src",
    "srs",
    "sub-addr-delim",
    "table",
    "tag",
    "tagged",
    "tls",
    "tls-require",
    "ttl",
    "user",
    "userbase",
    "verify",
    "virtual",
    "warn-interval",
    "wrapper",
};

bool IsDigit(int c) { return c >= '0' && c <= '9'; }
bool IsAlnum(int c) {
  return c >= 0 && c < 128 && absl::ascii_isalnum(static_cast<uint8_t>(c));
}
bool IsNamePart(int c) { return IsAlnum(c) || c == '_'; }
bool StartsWord(int c) { return IsNamePart(c) || c == ':'; }
bool ContinuesWord(int c) {
  if (IsAlnum(c)) return true;
  return c > 0 && c < 128 && absl::ascii_ispunct(static_cast<uint8_t>(c)) &&
         absl::string_view("(){}<>!=#,").find(static_cast<char>(c)) ==
             absl::string_view::npos;
}
bool EndsNumber(int c) {
  return c == kEndOfFile || c == ')' || c == ',' || c == '/' || c == '}' ||
         c == '=' ||
         (c >= 0 && c < 128 && absl::ascii_isspace(static_cast<uint8_t>(c)));
}

}  // namespace

bool IsReservedWord(absl::string_view word) {
  return std::binary_search(std::begin(kReserved), std::end(kReserved), word);
}

void Lexer::PushFile(std::string name, std::string text) {
  File file;
  file.name = std::move(name);
  file.text = std::move(text);
  position_ = {file.name, 1};
  files_.push_back(std::move(file));
}

void Lexer::Define(const std::string& name, const std::string& value,
                   bool persistent) {
  Macro& macro = macros_[name];
  if (macro.persistent && !persistent) return;
  macro = {value, persistent};
}

int Lexer::GetRaw() {
  if (files_.empty()) return kEndOfFile;
  File& file = files_.back();
  while (true) {
    int c;
    if (!file.pushed_back.empty()) {
      c = file.pushed_back.back();
      file.pushed_back.pop_back();
    } else if (file.offset < file.text.size()) {
      c = static_cast<uint8_t>(file.text[file.offset++]);
    } else {
      return kEndOfFile;
    }
    if (c == kMacroBegins) {
      expanding_ = true;
    } else if (c == kMacroEnds) {
      expanding_ = false;
    } else {
      return c;
    }
  }
}

int Lexer::Get() {
  int c;
  while ((c = GetRaw()) == '\\') {
    const int next = GetRaw();
    if (next != '\n') {
      c = next;
      break;
    }
    position_.line = files_.back().line++;
  }
  while (c == kEndOfFile) {
    if (files_.empty()) return c;
    if (!files_.back().ended) {
      files_.back().ended = true;
      return '\n';
    }
    if (files_.size() == 1) return c;
    files_.pop_back();
    c = GetRaw();
  }
  return c;
}

void Lexer::Unget(int c) {
  if (c != kEndOfFile) files_.back().pushed_back.push_back(c);
}

void Lexer::SkipLine() {
  files_.back().pushed_back.clear();
  expanding_ = false;
  int c;
  while ((c = Get()) != '\n' && c != kEndOfFile) {
  }
  if (c == '\n') ++files_.back().line;
}

Token Lexer::Error(std::string text) {
  SkipLine();
  Token token;
  token.kind = Token::Kind::kError;
  token.text = std::move(text);
  return token;
}

bool Lexer::ExpandMacro(Token* error) {
  std::string name;
  int c;
  while (IsNamePart(c = Get())) {
    name.push_back(static_cast<char>(c));
    if (name.size() >= kMaxTokenBytes) {
      *error = Error("string too long");
      return false;
    }
  }
  Unget(c);
  const auto macro = macros_.find(name);
  if (macro == macros_.end()) {
    *error = Error(absl::StrCat("macro '", name, "' not defined"));
    return false;
  }
  const std::string& text = macro->second.value;
  Unget(kMacroEnds);
  for (auto at = text.rbegin(); at != text.rend(); ++at) {
    Unget(static_cast<uint8_t>(*at));
  }
  Unget(kMacroBegins);
  return true;
}

Token Lexer::Quoted(int quote) {
  Token token;
  token.kind = Token::Kind::kString;
  token.quoted = true;
  while (true) {
    int c = GetRaw();
    if (c == quote) return token;
    if (c == kEndOfFile) {
      return Error("reached end of file while parsing quoted string");
    }
    if (c == '\n') {
      ++files_.back().line;
      continue;
    }
    if (c == '\\') {
      const int next = GetRaw();
      if (next == quote || next == ' ' || next == '\t') {
        c = next;
      } else if (next == '\n') {
        ++files_.back().line;
        continue;
      } else {
        Unget(next);
      }
    } else if (c == '\0') {
      return Error("");
    }
    if (token.text.size() + 1 >= kMaxTokenBytes) {
      return Error("string too long");
    }
    token.text.push_back(static_cast<char>(c));
  }
}

bool Lexer::Number(int first, Token* token) {
  std::string digits(1, static_cast<char>(first));
  int c;
  while (IsDigit(c = Get())) {
    digits.push_back(static_cast<char>(c));
    if (digits.size() > kMaxTokenBytes) {
      *token = Error("string too long");
      return true;
    }
  }
  Unget(c);
  if (digits == "-" || !EndsNumber(c)) {
    for (size_t i = digits.size(); i > 1; --i) {
      Unget(static_cast<uint8_t>(digits[i - 1]));
    }
    return false;
  }
  token->kind = Token::Kind::kNumber;
  token->text = digits;
  if (!absl::SimpleAtoi(digits, &token->number)) {
    *token = Error(absl::StrCat("\"", digits, "\" invalid number: ",
                                digits[0] == '-' ? "too small" : "too large"));
  }
  return true;
}

Token Lexer::Word(int first) {
  Token token;
  int c = first;
  do {
    token.text.push_back(static_cast<char>(c));
    if (token.text.size() > kMaxTokenBytes) return Error("string too long");
    c = Get();
  } while (ContinuesWord(c));
  Unget(c);
  token.kind =
      IsReservedWord(token.text) ? Token::Kind::kKeyword : Token::Kind::kString;
  return token;
}

Token Lexer::Next() {
  Token token;
  int c;
  while (true) {
    while ((c = Get()) == ' ' || c == '\t') {
    }
    if (files_.empty() || c == kEndOfFile) return token;
    position_ = {files_.back().name, files_.back().line};
    if (c != '$' || expanding_) break;
    if (!ExpandMacro(&token)) return token;
  }
  if (c == '#') {
    while ((c = Get()) != '\n' && c != kEndOfFile) {
    }
    if (c == kEndOfFile) return token;
  }
  if (c == '\n') {
    position_ = {files_.back().name, files_.back().line++};
    token.kind = Token::Kind::kNewline;
    return token;
  }
  if (c == '"' || c == '\'') return Quoted(c);
  if ((c == '-' || IsDigit(c)) && Number(c, &token)) return token;
  if (StartsWord(c)) return Word(c);
  if (c == '=') {
    const int next = Get();
    if (next == '>') {
      token.kind = Token::Kind::kArrow;
      return token;
    }
    Unget(next);
  }
  token.kind = Token::Kind::kChar;
  token.text.assign(1, static_cast<char>(c));
  return token;
}

}  // namespace holdfast
