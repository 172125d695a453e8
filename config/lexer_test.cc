#include "config/lexer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;

// All tokens in short: s:string q:quoted k:keyword n:number a => ; newline
// e:error, other characters as they are.
std::vector<std::string> Tokens(Lexer* lexer) {
  std::vector<std::string> all;
  while (true) {
    const Token token = lexer->Next();
    switch (token.kind) {
      case Token::Kind::kEnd:
        return all;
      case Token::Kind::kNewline:
        all.push_back(";");
        break;
      case Token::Kind::kString:
        all.push_back(absl::StrCat(token.quoted ? "q:" : "s:", token.text));
        break;
      case Token::Kind::kKeyword:
        all.push_back("k:" + token.text);
        break;
      case Token::Kind::kNumber:
        all.push_back(absl::StrCat("n:", token.number));
        break;
      case Token::Kind::kArrow:
        all.push_back("=>");
        break;
      case Token::Kind::kChar:
        all.push_back(token.text);
        break;
      case Token::Kind::kError:
        all.push_back("e:" + token.text);
        break;
    }
  }
}

std::vector<std::string> Tokens(const std::string& text) {
  Lexer lexer;
  lexer.PushFile("f", text);
  return Tokens(&lexer);
}

TEST(Lexer, Words) {
  EXPECT_THAT(
      Tokens("relay Relay a.b-c_d:/[x]@y \"relay\""),
      ElementsAre("k:relay", "s:Relay", "s:a.b-c_d:/[x]@y", "q:relay", ";"));
  EXPECT_THAT(Tokens("a#b\nc"), ElementsAre("s:a", ";", "s:c", ";"));
  EXPECT_THAT(Tokens("a=b=>c{d}!e<f>"),
              ElementsAre("s:a", "=", "s:b", "=>", "s:c", "{", "s:d", "}", "!",
                          "s:e", "<", "s:f", ">", ";"));
  EXPECT_THAT(Tokens("@a /b ~c *d %e .f"),
              ElementsAre("@", "s:a", "/", "s:b", "~", "s:c", "*", "s:d", "%",
                          "s:e", ".", "s:f", ";"));
}

TEST(Lexer, Numbers) {
  EXPECT_THAT(Tokens("10 -5 10, 10/8 {1}"),
              ElementsAre("n:10", "n:-5", "n:10", ",", "n:10", "/", "n:8", "{",
                          "n:1", "}", ";"));
  EXPECT_THAT(
      Tokens("10.0.0.0/8 35M 1h 5% 127.0.0.1"),
      ElementsAre("s:10.0.0.0/8", "s:35M", "s:1h", "s:5%", "s:127.0.0.1", ";"));
  EXPECT_THAT(Tokens("-5M - -x"),
              ElementsAre("-", "s:5M", "-", "-", "s:x", ";"));
  EXPECT_THAT(Tokens("9223372036854775807 9223372036854775808 x\ny"),
              ElementsAre("n:9223372036854775807",
                          "e:\"9223372036854775808\" invalid number: too large",
                          "s:y", ";"));
}

TEST(Lexer, Quotes) {
  EXPECT_THAT(Tokens("'a\"b' \"it's\" \"\""),
              ElementsAre("q:a\"b", "q:it's", "q:", ";"));
  EXPECT_THAT(Tokens(R"("a\"b\ c\n\\d")"), ElementsAre(R"(q:a"b c\n\\d)", ";"));
  EXPECT_THAT(Tokens("\"a\\\nb\nc\" d"), ElementsAre("q:abc", "s:d", ";"));
  EXPECT_THAT(Tokens("\"abc"),
              ElementsAre("e:reached end of file while parsing quoted string"));
  EXPECT_THAT(Tokens(std::string("\"a\0b\" c\nd", 9)),
              ElementsAre("e:", "s:d", ";"));
}

TEST(Lexer, LengthLimits) {
  const std::string longest(8095, 'x');
  EXPECT_THAT(Tokens(longest), ElementsAre("s:" + longest, ";"));
  EXPECT_THAT(Tokens(longest + "x y\nz"),
              ElementsAre("e:string too long", "s:z", ";"));
  const std::string quoted(8094, 'x');
  EXPECT_THAT(Tokens("\"" + quoted + "\""), ElementsAre("q:" + quoted, ";"));
  EXPECT_THAT(Tokens("\"" + quoted + "x\"\nz"),
              ElementsAre("e:string too long", "s:z", ";"));
}

TEST(Lexer, ContinuationAndComments) {
  EXPECT_THAT(Tokens("ab\\\ncd \\\n e"), ElementsAre("s:abcd", "s:e", ";"));
  EXPECT_THAT(Tokens("# gone \\\nalso gone\nhere"),
              ElementsAre(";", "s:here", ";"));
  EXPECT_THAT(Tokens("a \\# b"), ElementsAre("s:a", ";"));
  EXPECT_THAT(Tokens("a\\b"), ElementsAre("s:ab", ";"));
}

TEST(Lexer, Macros) {
  Lexer lexer;
  lexer.Define("x", "for local", false);
  lexer.Define("net", "10.0.0.0", false);
  lexer.Define("again", "$x", false);
  lexer.PushFile("f", "$x a$x \"$x\" $net/8 $again\n$none b\nc");
  EXPECT_THAT(
      Tokens(&lexer),
      ElementsAre("k:for", "k:local", "s:a$x", "q:$x", "s:10.0.0.0/8", "$",
                  "s:x", ";", "e:macro 'none' not defined", "s:c", ";"));
}

TEST(Lexer, PersistentMacros) {
  Lexer lexer;
  lexer.Define("x", "one", true);
  lexer.Define("x", "two", false);
  lexer.Define("y", "one", false);
  lexer.Define("y", "two", false);
  lexer.PushFile("f", "$x $y");
  EXPECT_THAT(Tokens(&lexer), ElementsAre("s:one", "s:two", ";"));
}

TEST(Lexer, PositionsAndIncludedFiles) {
  Lexer lexer;
  lexer.PushFile("outer", "a\n\"b\nc\" d \\\n e\nf");
  const auto next = [&] {
    const Token token = lexer.Next();
    return absl::StrCat(token.text, "@", lexer.position().file, ":",
                        lexer.position().line);
  };
  EXPECT_EQ(next(), "a@outer:1");
  EXPECT_EQ(next(), "@outer:1");
  EXPECT_EQ(next(), "bc@outer:2");
  EXPECT_EQ(next(), "d@outer:3");
  EXPECT_EQ(next(), "e@outer:4");
  lexer.PushFile("inner", "\nx");
  EXPECT_EQ(next(), "@inner:1");
  EXPECT_EQ(next(), "x@inner:2");
  EXPECT_EQ(next(), "@inner:2");
  EXPECT_EQ(next(), "@outer:4");
  EXPECT_EQ(next(), "f@outer:5");
}

}  // namespace
}  // namespace holdfast
