// smtpd.conf(5) as tokens (reference part 1, sections 1.1 and 1.2).
//
// The lexer also holds what changes the text itself: macros, whose text is
// pushed back into the input, and the stack of included files.
#ifndef HOLDFAST_CONFIG_LEXER_H_
#define HOLDFAST_CONFIG_LEXER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "config/config.h"

namespace holdfast {

// Most characters of an unquoted token; a quoted one holds one less.
inline constexpr size_t kMaxTokenBytes = 8095;

struct Token {
  enum class Kind : uint8_t {
    kEnd,      // of the outermost file
    kNewline,  // ends a directive
    kString,   // a word that is not reserved, or anything in quotes
    kKeyword,  // a reserved word
    kNumber,
    kArrow,  // =>
    kChar,   // any other character, in `text`
    kError,  // not a token: `text` says why (empty: nothing more to say); the
             // rest of the line is gone
  };
  Kind kind = Kind::kEnd;
  std::string text;  // of strings, keywords, characters, errors
  int64_t number = 0;
  bool quoted = false;

  bool Is(char c) const {
    return kind == Kind::kChar && text.size() == 1 && text[0] == c;
  }
  bool IsKeyword(absl::string_view word) const {
    return kind == Kind::kKeyword && text == word;
  }
  // A word of ours: not reserved, so that it is one only where it is asked
  // for, and never in quotes.
  bool IsBareWord(absl::string_view word) const {
    return kind == Kind::kString && !quoted && text == word;
  }
};

bool IsReservedWord(absl::string_view word);

class Lexer {
 public:
  // `name` stands in positions.  The text is read before what is left of the
  // file it is included from.
  void PushFile(std::string name, std::string text);
  size_t depth() const { return files_.size(); }

  Token Next();

  // Where the last token began.
  const SourcePosition& position() const { return position_; }

  // A persistent macro (-D) wins over all later definitions of its name.
  void Define(const std::string& name, const std::string& value,
              bool persistent);

 private:
  struct File {
    std::string name;
    std::string text;
    size_t offset = 0;
    int line = 1;
    bool ended = false;  // the newline that an end of file stands for was given
    std::vector<int> pushed_back;  // last one first
  };
  struct Macro {
    std::string value;
    bool persistent = false;
  };

  int GetRaw();
  // As GetRaw(), after continuation lines and the ends of included files.
  int Get();
  void Unget(int c);
  Token Error(std::string text);
  void SkipLine();

  // Nothing if the macro was pushed back and the scan goes on.
  bool ExpandMacro(Token* error);
  Token Quoted(int quote);
  // False if the characters are a word (or a lone '-') after all.
  bool Number(int first, Token* token);
  Token Word(int first);

  std::vector<File> files_;
  std::map<std::string, Macro> macros_;
  SourcePosition position_;
  bool expanding_ = false;  // reading the text of a macro
};

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_LEXER_H_
