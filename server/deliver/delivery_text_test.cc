#include "server/deliver/delivery_text.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

TEST(DeliveryText, Errors) {
  EXPECT_EQ(ErrorText(kTemporaryFailure, Quoted("disk full")),
            "Error (temporary failure: \"disk full\")");
  EXPECT_EQ(ErrorText("", "terminated; signal 9"),
            "Error (terminated; signal 9)");
  EXPECT_EQ(Quoted("a\nb"), "\"a\\nb\"");
  EXPECT_EQ(Quoted(std::string(1000, 'x')).size(), 252u);
}

TEST(DeliveryText, TraceHeader) {
  EXPECT_EQ(TraceHeader({"a", "b.example"}, {"c", "d.example"}),
            "Return-Path: <a@b.example>\nDelivered-To: c@d.example\n");
  EXPECT_EQ(TraceHeader({}, {"c", "d.example"}), "Delivered-To: c@d.example\n");
  EXPECT_EQ(TraceHeader({}, {"c\nX: y", "d"}), "Delivered-To: c?X: y@d\n");
}

TEST(DeliveryText, MaildirFileName) {
  EXPECT_EQ(
      MaildirFileName(absl::FromUnixSeconds(1795324000), "0123456789abcdef",
                      EnvelopeId(0x30e4722cbffde8e8), "mx/1:2.example"),
      "1795324000.0123456789abcdef.30e4722cbffde8e8.mx\\0571\\0722."
      "example");
}

TEST(DeliveryText, Loops) {
  const MailAddress bob = {"bob", "example.org"};
  EXPECT_TRUE(HasDeliveredTo("A: b\nDelivered-To: Bob@Example.org\n\n", bob));
  EXPECT_FALSE(HasDeliveredTo("A: b\n\nDelivered-To: bob@example.org\n", bob));
  EXPECT_FALSE(HasDeliveredTo("Delivered-To: bob@example.org.x\n\n", bob));
  EXPECT_TRUE(HeaderIsComplete("A: b\n\nx"));
  EXPECT_TRUE(HeaderIsComplete("\nx"));
  EXPECT_FALSE(HeaderIsComplete("A: b\nC: d\n"));
}

}  // namespace
}  // namespace holdfast
