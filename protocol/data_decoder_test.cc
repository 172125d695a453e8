#include "protocol/data_decoder.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

struct Decoded {
  std::string text;
  std::string rest;
  bool done = false;
  bool bare_newline = false;
  bool long_line = false;
  uint64_t size = 0;

  friend bool operator==(const Decoded&, const Decoded&) = default;
};

Decoded DecodePieces(const std::vector<absl::string_view>& pieces,
                     DataDecoder::Framing framing, bool normalise) {
  DataDecoder decoder(framing, normalise);
  Decoded decoded;
  for (absl::string_view piece : pieces) {
    if (decoded.done) {
      absl::StrAppend(&decoded.rest, piece);
      continue;
    }
    decoded.done =
        decoder.Decode(&piece, &decoded.text) == DataDecoder::Result::kDone;
    absl::StrAppend(&decoded.rest, piece);
  }
  if (framing != DataDecoder::Framing::kDots) decoder.Finish(&decoded.text);
  decoded.bare_newline = decoder.has_bare_newline();
  decoded.long_line = decoder.has_long_line();
  decoded.size = decoder.size();
  return decoded;
}

Decoded Decode(absl::string_view wire,
               DataDecoder::Framing framing = DataDecoder::Framing::kDots,
               bool normalise = false) {
  return DecodePieces({wire}, framing, normalise);
}

TEST(DataDecoderTest, UndoesDotStuffingUpToTheFinalDot) {
  const Decoded decoded = Decode("..a\r\n.b\r\nc.\r\n.\r\nQUIT\r\n");
  EXPECT_TRUE(decoded.done);
  EXPECT_EQ(decoded.text, ".a\nb\nc.\n");
  EXPECT_EQ(decoded.rest, "QUIT\r\n");
  EXPECT_FALSE(decoded.bare_newline);
  // Lines with their dots, and one for each line end.
  EXPECT_EQ(decoded.size, 4u + 3u + 3u);
}

TEST(DataDecoderTest, AnEmptyMessageIsADotAlone) {
  const Decoded decoded = Decode(".\r\n");
  EXPECT_TRUE(decoded.done);
  EXPECT_EQ(decoded.text, "");
  EXPECT_EQ(decoded.size, 0u);
}

TEST(DataDecoderTest, TheResultDoesNotDependOnTheCuts) {
  const std::string wire =
      std::string("..a\r\n\r\nb\rc\r\r\nd\ne\n.\r\n.\rf\r\n.\n.\0g\r\n", 33) +
      "\xe9\r\n.h\r\n.\r\n.\r\nQUIT";
  using Framing = DataDecoder::Framing;
  for (const auto& [framing, normalise] :
       {std::pair{Framing::kDots, false}, std::pair{Framing::kDots, true},
        std::pair{Framing::kCounted, false}, std::pair{Framing::kCounted, true},
        std::pair{Framing::kBinary, false}}) {
    const Decoded whole = Decode(wire, framing, normalise);
    for (size_t a = 0; a <= wire.size(); ++a) {
      for (size_t b = a; b <= wire.size(); ++b) {
        const absl::string_view view = wire;
        ASSERT_EQ(DecodePieces({view.substr(0, a), view.substr(a, b - a),
                                view.substr(b)},
                               framing, normalise),
                  whole)
            << a << " " << b;
      }
    }
    std::vector<absl::string_view> bytes;
    for (size_t i = 0; i < wire.size(); ++i)
      bytes.push_back(absl::string_view(wire).substr(i, 1));
    EXPECT_EQ(DecodePieces(bytes, framing, normalise), whole);
  }
}

TEST(DataDecoderTest, NotesWhatIsNotALineEnd) {
  EXPECT_TRUE(Decode("a\nb\r\n.\r\n").bare_newline);
  EXPECT_TRUE(Decode("a\rb\r\n.\r\n").bare_newline);
  EXPECT_TRUE(Decode("a\r\r\n.\r\n").bare_newline);
  EXPECT_TRUE(Decode(absl::string_view("a\0b\r\n.\r\n", 9)).bare_newline);
  EXPECT_FALSE(Decode("a\tb\x0b\xe9\r\n.\r\n").bare_newline);
}

TEST(DataDecoderTest, CountedTextHasNoDotsAndMayLackTheLastLineEnd) {
  const Decoded decoded =
      Decode("..a\r\n.\r\nb", DataDecoder::Framing::kCounted);
  EXPECT_EQ(decoded.text, "..a\n.\nb\n");
  EXPECT_FALSE(decoded.bare_newline);
  EXPECT_TRUE(Decode("a\r", DataDecoder::Framing::kCounted).bare_newline);
}

TEST(DataDecoderTest, ANormalisedBareLfIsALineEndThatEndsNothing) {
  const auto normalised = [](absl::string_view wire) {
    return Decode(wire, DataDecoder::Framing::kDots, true);
  };
  const Decoded decoded = normalised("a\n.\r\nb\n.\nc\n..d\r\n.\n\r\n.\r\nX");
  EXPECT_TRUE(decoded.done);
  EXPECT_EQ(decoded.text, "a\n.\nb\n.\nc\n..d\n\n\n");
  EXPECT_EQ(decoded.rest, "X");
  EXPECT_FALSE(decoded.bare_newline);
  // All else is as before.
  EXPECT_TRUE(normalised("a\rb\r\n.\r\n").bare_newline);
  EXPECT_TRUE(normalised("a\r\r\n.\r\n").bare_newline);
  EXPECT_TRUE(normalised(absl::string_view("a\0b\r\n.\r\n", 9)).bare_newline);
  const Decoded counted =
      Decode("a\nb\n", DataDecoder::Framing::kCounted, true);
  EXPECT_EQ(counted.text, "a\nb\n");
  EXPECT_FALSE(counted.bare_newline);
}

TEST(DataDecoderTest, OfABinaryMessageOnlyTheHeaderIsLines) {
  const std::string body("\r\n.\r\n\0\r\n\n\r\xff", 12);
  const Decoded decoded = Decode(absl::StrCat("A: b\r\n .c\r\n\r\n", body),
                                 DataDecoder::Framing::kBinary);
  EXPECT_EQ(decoded.text, absl::StrCat("A: b\n .c\n\n", body));
  EXPECT_FALSE(decoded.bare_newline);
  EXPECT_EQ(decoded.size, 5u + 4u + 1u + body.size());
  const auto header = [](absl::string_view wire) {
    return Decode(wire, DataDecoder::Framing::kBinary);
  };
  EXPECT_TRUE(header("A: b\n\nx").bare_newline);
  EXPECT_TRUE(header("A: b\rc\r\n\r\nx").bare_newline);
  EXPECT_TRUE(header(absl::string_view("A: \0\r\n\r\nx", 9)).bare_newline);
  EXPECT_EQ(header("A: b").text, "A: b\n");
  EXPECT_EQ(header("\r\nx").text, "\nx");
  // No line of the body is too long.
  EXPECT_FALSE(header("\r\n" + std::string(70000, 'x')).long_line);
}

TEST(DataDecoderTest, KnowsLinesThatAreTooLong) {
  const std::string most(kMaxTextLineBytes - 1, 'x');
  EXPECT_FALSE(Decode(absl::StrCat(most, "\r\n.\r\n")).long_line);
  EXPECT_TRUE(Decode(absl::StrCat(most, "x\r\n.\r\n")).long_line);
  EXPECT_TRUE(Decode(absl::StrCat(most, "x")).long_line);
}

}  // namespace
}  // namespace holdfast
