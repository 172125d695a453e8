#include "protocol/data_decoder.h"

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
                     DataDecoder::Framing framing) {
  DataDecoder decoder(framing);
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
  if (framing == DataDecoder::Framing::kCounted) decoder.Finish(&decoded.text);
  decoded.bare_newline = decoder.has_bare_newline();
  decoded.long_line = decoder.has_long_line();
  decoded.size = decoder.size();
  return decoded;
}

Decoded Decode(absl::string_view wire,
               DataDecoder::Framing framing = DataDecoder::Framing::kDots) {
  return DecodePieces({wire}, framing);
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
  for (const auto framing :
       {DataDecoder::Framing::kDots, DataDecoder::Framing::kCounted}) {
    const Decoded whole = Decode(wire, framing);
    for (size_t a = 0; a <= wire.size(); ++a) {
      for (size_t b = a; b <= wire.size(); ++b) {
        const absl::string_view view = wire;
        ASSERT_EQ(DecodePieces({view.substr(0, a), view.substr(a, b - a),
                                view.substr(b)},
                               framing),
                  whole)
            << a << " " << b;
      }
    }
    std::vector<absl::string_view> bytes;
    for (size_t i = 0; i < wire.size(); ++i)
      bytes.push_back(absl::string_view(wire).substr(i, 1));
    EXPECT_EQ(DecodePieces(bytes, framing), whole);
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

TEST(DataDecoderTest, KnowsLinesThatAreTooLong) {
  const std::string most(kMaxTextLineBytes - 1, 'x');
  EXPECT_FALSE(Decode(absl::StrCat(most, "\r\n.\r\n")).long_line);
  EXPECT_TRUE(Decode(absl::StrCat(most, "x\r\n.\r\n")).long_line);
  EXPECT_TRUE(Decode(absl::StrCat(most, "x")).long_line);
}

}  // namespace
}  // namespace holdfast
