#include "protocol/control_frames.h"

#include "gtest/gtest.h"
#include "protocol/control_messages.h"

namespace holdfast {
namespace {

TEST(ControlFrames, AnySplitGivesTheSame) {
  ControlRequest request;
  request.words = {"show", "queue"};
  const std::string bytes =
      EncodeControlFrame(request) + EncodeControlFrame(ControlMore{});
  for (size_t step = 1; step <= bytes.size(); ++step) {
    ControlFrames frames(kMaxControlRequestFrame);
    std::vector<ControlFrame> got;
    for (size_t at = 0; at < bytes.size(); at += step) {
      frames.Append(absl::string_view(bytes).substr(at, step));
      for (;;) {
        auto frame = frames.Next();
        ASSERT_TRUE(frame.ok());
        if (!*frame) break;
        got.push_back(**frame);
      }
    }
    ASSERT_EQ(got.size(), 2u) << step;
    EXPECT_EQ(got[0].type, ControlRequest::kType);
    EXPECT_EQ(Decode<ControlRequest>(got[0].payload)->words, request.words);
    EXPECT_EQ(got[1].type, ControlMore::kType);
    EXPECT_EQ(frames.buffered(), 0u);
  }
}

TEST(ControlFrames, RefusesBadLengths) {
  ControlFrames zero(100);
  zero.Append(absl::string_view("\0\0\0\0", 4));
  EXPECT_FALSE(zero.Next().ok());
  ControlFrames huge(100);
  huge.Append(absl::string_view("\xff\xff\xff\xff", 4));
  EXPECT_FALSE(huge.Next().ok());
  ControlFrames over(100);
  over.Append(EncodeControlFrame(1, std::string(99, 'x')));
  EXPECT_FALSE(over.Next().ok());
  ControlFrames just(100);
  just.Append(EncodeControlFrame(1, std::string(98, 'x')));
  EXPECT_TRUE(just.Next().ok());
}

}  // namespace
}  // namespace holdfast
