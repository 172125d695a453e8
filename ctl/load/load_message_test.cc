#include "ctl/load/load_message.h"

#include <set>

#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

void Feed(LoadMessageReader& reader, const std::string& crlf_text) {
  std::vector<std::string> lines = absl::StrSplit(crlf_text, "\r\n");
  lines.pop_back();  // after the last line end
  for (const std::string& line : lines) reader.Line(line);
}

TEST(LoadMessageTest, Crc32IsTheUsualOne) {
  EXPECT_EQ(Crc32(0, "123456789"), 0xcbf43926u);
  EXPECT_EQ(Crc32(Crc32(0, "1234"), "56789"), 0xcbf43926u);
  EXPECT_EQ(FormatCrc32(0xabc), "00000abc");
}

TEST(LoadMessageTest, BodiesHaveTheSizeAndDiffer) {
  for (const size_t size : {10u, 100u, 2048u, 102400u}) {
    std::set<uint32_t> checksums;
    for (const LoadBody& body : MakeLoadBodies(64, size, 1)) {
      EXPECT_NEAR(body.plain.size(), size, 4) << size;
      checksums.insert(body.crc);
    }
    if (size > 100) {
      EXPECT_EQ(checksums.size(), 64u);
    }
  }
}

TEST(LoadMessageTest, SameSeedSameBodies) {
  EXPECT_EQ(MakeLoadBodies(2, 500, 9)[1].plain,
            MakeLoadBodies(2, 500, 9)[1].plain);
  EXPECT_NE(MakeLoadBodies(2, 500, 9)[1].plain,
            MakeLoadBodies(2, 500, 8)[1].plain);
}

TEST(LoadMessageTest, LeadingDotsAreStuffed) {
  const LoadBody body = MakeLoadBodies(1, 4096, 1)[0];
  EXPECT_NE(body.plain.find("\r\n."), std::string::npos);
  EXPECT_EQ(body.plain.find("\r\n.."), std::string::npos);
  EXPECT_NE(body.stuffed.find("\r\n.."), std::string::npos);
  EXPECT_EQ(body.stuffed.find("\r\n.\r\n"), std::string::npos);
}

TEST(LoadMessageTest, ReaderFindsIdAndSeesDamage) {
  const LoadBody body = MakeLoadBodies(1, 2000, 3)[0];
  const std::string header = MakeLoadHeader(
      "r-5", "s@a", "t@b", "Sun, 22 Nov 2026 00:00:00 +0000", body);
  LoadMessageReader reader;
  Feed(reader,
       "Delivered-To: t@b\r\n"
       "Received: from x\r\n\tby y (Holdfast) with ESMTP id 30e4722c\r\n"
       "\tfor <t@b>;\r\n"
       "Received: from other by z with ESMTP id 11111111;\r\n" +
           header + body.plain);
  EXPECT_EQ(reader.id(), "r-5");
  EXPECT_EQ(reader.msgid(), "30e4722c");
  EXPECT_EQ(reader.delivered_to(), "t@b");
  EXPECT_TRUE(reader.has_checksum());
  EXPECT_TRUE(reader.intact());

  LoadMessageReader damaged;
  std::string other = body.plain;
  other[100] ^= 1;
  Feed(damaged, header + other);
  EXPECT_FALSE(damaged.intact());
  EXPECT_EQ(damaged.msgid(), "");
}

}  // namespace
}  // namespace holdfast
