#include "protocol/vis.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

TEST(VisTest, LeavesGraphicTextAlone) {
  EXPECT_EQ(VisEncode("MAIL FROM:<\"a b\"@c>"), "MAIL FROM:<\"a b\"@c>");
}

TEST(VisTest, EncodesWhatWouldBreakOrForgeALogLine) {
  EXPECT_EQ(VisEncode("a\r\nb\tc"), "a\\r\\nb\\tc");
  EXPECT_EQ(VisEncode("\033[2J"), "\\^[[2J");
  EXPECT_EQ(VisEncode("\177"), "\\^?");
  EXPECT_EQ(VisEncode("a\\nb"), "a\\\\nb");
}

TEST(VisTest, EncodesOctetsAbove127) {
  EXPECT_EQ(VisEncode("\xe9"), "\\M-i");
  EXPECT_EQ(VisEncode("\x81"), "\\M^A");
  EXPECT_EQ(VisEncode("\xa0"), "\\240");
  EXPECT_EQ(VisEncode("\xff"), "\\M^?");
}

TEST(VisTest, ANulBeforeADigitIsUnambiguous) {
  EXPECT_EQ(VisEncode(absl::string_view("\0x", 2)), "\\0x");
  EXPECT_EQ(VisEncode(absl::string_view("\0"
                                        "7",
                                        2)),
            "\\0007");
}

TEST(VisTest, EncodesSpacesOnRequest) {
  EXPECT_EQ(VisEncode("joe doe", VisSpace::kEncode), "joe\\sdoe");
}

}  // namespace
}  // namespace holdfast
