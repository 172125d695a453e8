#include "protocol/smtp_client_reply.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The replies in `bytes`, given in two pieces cut at `cut`.
std::vector<SmtpReply> ParseAll(absl::string_view bytes, size_t cut) {
  SmtpReplyParser parser;
  std::vector<SmtpReply> replies;
  for (absl::string_view piece : {bytes.substr(0, cut), bytes.substr(cut)}) {
    while (true) {
      SmtpReply reply;
      const absl::StatusOr<bool> done = parser.Parse(&piece, &reply);
      EXPECT_TRUE(done.ok()) << done.status();
      if (!done.ok() || !*done) break;
      replies.push_back(std::move(reply));
    }
  }
  EXPECT_FALSE(parser.InReply());
  return replies;
}

std::string FoldedText(absl::string_view bytes) {
  const std::vector<SmtpReply> replies = ParseAll(bytes, 0);
  return replies.size() == 1 ? replies[0].text : "not one reply";
}

std::string ErrorOf(absl::string_view bytes) {
  SmtpReplyParser parser;
  SmtpReply reply;
  while (!bytes.empty()) {
    const absl::StatusOr<bool> done = parser.Parse(&bytes, &reply);
    if (!done.ok()) return std::string(done.status().message());
  }
  return "no error";
}

TEST(SmtpClientReplyTest, FoldsAsTheReferenceDoes) {
  EXPECT_EQ(FoldedText("250 2.0.0 queued as SINK1\r\n"),
            "250 2.0.0 queued as SINK1");
  EXPECT_EQ(FoldedText("550-5.1.1 No such user\r\n550 5.1.1 here at all\r\n"),
            "550-5.1.1 No such user here at all");
  EXPECT_EQ(FoldedText("451-one\r\n451-two\r\n451 three\r\n"),
            "451-one two three");
  EXPECT_EQ(FoldedText("550-5.7.26 long\r\n550 5.7.26 more\r\n"),
            "550-5.7.26 long 5.7.26 more");
  EXPECT_EQ(FoldedText("550-a\r\n550-\r\n550-5.1.1\r\n550\r\n"), "550-a");
  EXPECT_EQ(FoldedText("250\r\n"), "250");
  EXPECT_EQ(FoldedText("250 \n"), "250 ");
}

TEST(SmtpClientReplyTest, LongTextsAreCut) {
  std::string bytes;
  for (int i = 0; i < 50; ++i) bytes += "550-" + std::string(500, 'x') + "\r\n";
  const std::string text = FoldedText(bytes + "550 end\r\n");
  EXPECT_EQ(text.size(), kMaxReplyTextBytes);
  EXPECT_EQ(text.substr(0, 5), "550-x");
}

TEST(SmtpClientReplyTest, EveryCutGivesTheSame) {
  const std::string bytes =
      "220 hi\r\n250-mx\r\n250-SIZE 100\r\n250 DSN\r\n354\r\n550-a\n550 b\n";
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    const std::vector<SmtpReply> r = ParseAll(bytes, cut);
    ASSERT_EQ(r.size(), 4u) << cut;
    EXPECT_EQ(r[0].code, 220);
    EXPECT_THAT(r[1].lines, ElementsAre("mx", "SIZE 100", "DSN"));
    EXPECT_EQ(r[2].text, "354");
    EXPECT_EQ(r[3].text, "550-a b");
  }
}

TEST(SmtpClientReplyTest, WhatIsNotAReply) {
  for (const std::string& bad :
       {std::string("\r\n"), std::string("25\r\n"), std::string("hello\r\n"),
        std::string("999 x\r\n"), std::string("150 x\r\n"),
        std::string("2500 x\r\n"), std::string("250_x\r\n"),
        std::string("250-a\r\n251 b\r\n"), std::string("250-a\r\nb\r\n"),
        std::string("\x1b[2J250 x\r\n"), std::string("250 a\0b\r\n", 9)})
    EXPECT_THAT(ErrorOf(bad), HasSubstr("Bad response: ")) << bad;
}

TEST(SmtpClientReplyTest, EndlessRepliesEnd) {
  EXPECT_EQ(ErrorOf("250 " + std::string(kMaxReplyLineBytes, 'x')),
            "Input too long");
  // Also when the bytes drip in.
  SmtpReplyParser parser;
  SmtpReply reply;
  size_t taken = 0;
  for (;; ++taken) {
    absl::string_view one = "2";
    if (!parser.Parse(&one, &reply).ok()) break;
    ASSERT_LE(taken, kMaxReplyLineBytes);
  }
  EXPECT_EQ(taken, kMaxReplyLineBytes);
  std::string lines;
  for (size_t i = 0; i <= kMaxReplyLines; ++i) lines += "250-x\r\n";
  EXPECT_EQ(ErrorOf(lines), "Input too long");
}

TEST(SmtpClientReplyTest, EnhancedCodes) {
  const auto status = [](absl::string_view bytes) {
    const EnhancedStatus s = ParseAll(bytes, 0).at(0).Enhanced();
    return std::to_string(s.klass) + ":" + std::to_string(s.code);
  };
  EXPECT_EQ(status("550 5.1.1 no\r\n"), "5:11");
  EXPECT_EQ(status("550-5.1.1 no\r\n550 5.1.1 no\r\n"), "5:11");
  EXPECT_EQ(status("250 2.0.0\r\n"), "2:0");
  EXPECT_EQ(status("550 5.7.26 no\r\n"), "5:116");
  EXPECT_EQ(status("550 4.1.1 of another class\r\n"), "5:0");
  EXPECT_EQ(status("550 5.1.1x\r\n"), "5:0");
  EXPECT_EQ(status("550 5.10.1 x\r\n"), "5:0");
  EXPECT_EQ(status("450 nothing\r\n"), "4:0");
  EXPECT_EQ(status("450\r\n"), "4:0");
}

}  // namespace
}  // namespace holdfast
