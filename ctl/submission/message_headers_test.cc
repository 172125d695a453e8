#include "ctl/submission/message_headers.h"

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Taken = MessageHeaders::Taken;

// Feeds lines until one is not a header's; what that one was.
Taken Feed(MessageHeaders* headers, absl::string_view text) {
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const Taken taken = headers->Line(line);
    if (taken != Taken::kHeader) return taken;
  }
  return Taken::kHeader;
}

HeaderAdditions Additions() {
  HeaderAdditions a;
  a.sender = "root@mx.example.org";
  a.full_name = "Charlie Root";
  a.now = absl::FromUnixSeconds(1795324049);
  a.zone = absl::UTCTimeZone();
  return a;
}

TEST(MessageHeaders, Usual) {
  MessageHeaders h;
  EXPECT_EQ(Feed(&h,
                 "From: Joe <joe@x.org>\nTo: a@b,\n\tc@d\nBCC: e@f,\n g@h\n"
                 "X-Other: 1\nReturn-Path: <z@z>\nCc: i@j\nto: k@l\n\nbody"),
            Taken::kSeparator);
  EXPECT_FALSE(h.Unknown());
  EXPECT_EQ(h.Sender(), "joe@x.org");
  EXPECT_THAT(*h.Recipients(),
              ElementsAre("a@b", "c@d", "i@j", "k@l", "e@f", "g@h"));
  EXPECT_THAT(*h.BlindRecipients(), ElementsAre("e@f", "g@h"));
  EXPECT_EQ(CompleteHeaders(h, Additions()),
            "Date: Sun, 22 Nov 2026 05:07:29 +0000 (UTC)\n"
            "From: Joe <joe@x.org>\nTo: a@b,\n\tc@d\nX-Other: 1\nCc: i@j\n"
            "to: k@l\n\n");
}

TEST(MessageHeaders, MissingOnesAreAdded) {
  MessageHeaders h;
  EXPECT_EQ(Feed(&h, "From root Mon Nov  2\nSubject: hi\n\nx"),
            Taken::kSeparator);
  HeaderAdditions a = Additions();
  a.quoted_printable = true;
  EXPECT_EQ(CompleteHeaders(h, a),
            "From: Charlie Root <root@mx.example.org>\n"
            "Date: Sun, 22 Nov 2026 05:07:29 +0000 (UTC)\n"
            "MIME-Version: 1.0\n"
            "Content-Type: text/plain; charset=unknown-8bit\n"
            "Content-Disposition: inline\n"
            "Content-Transfer-Encoding: quoted-printable\n"
            "Subject: hi\n\n");
}

TEST(MessageHeaders, NamesCannotAddHeaders) {
  MessageHeaders h;
  Feed(&h, "Date: x\n\n");
  HeaderAdditions a = Additions();
  a.full_name = "Joe\r\nBcc: x@y, \"Q\"";
  EXPECT_EQ(CompleteHeaders(h, a),
            "From: \"JoeBcc: x@y, \\\"Q\\\"\" <root@mx.example.org>\n"
            "Date: x\n\n");
}

TEST(MessageHeaders, ABodyWithoutHeaders) {
  MessageHeaders h;
  EXPECT_EQ(Feed(&h, "hello world\nsecond"), Taken::kBody);
  EXPECT_TRUE(h.Unknown());
  EXPECT_EQ(h.text(), "");

  MessageHeaders note;
  EXPECT_EQ(Feed(&note, "Note: buy milk\nReturn-Path: x\n\nbread"),
            Taken::kSeparator);
  EXPECT_TRUE(note.Unknown());
  EXPECT_EQ(note.text(), "Note: buy milk\nReturn-Path: x\n");
  EXPECT_EQ(note.Sender(), "");
  EXPECT_THAT(*note.Recipients(), IsEmpty());
}

TEST(MessageHeaders, ALineThatIsNoHeaderBeginsTheBody) {
  MessageHeaders h;
  EXPECT_EQ(Feed(&h, "Subject: x\nno header\n"), Taken::kBody);
  EXPECT_FALSE(h.Unknown());
  MessageHeaders fold;
  EXPECT_EQ(Feed(&fold, " indented\n"), Taken::kBody);
}

TEST(MessageHeaders, BadAddresses) {
  MessageHeaders h;
  Feed(&h, "From: two words\nTo: a b\n\n");
  EXPECT_EQ(h.Sender(), "");
  EXPECT_EQ(h.Recipients().status().message(), "syntax error in address");
}

TEST(MessageHeaders, AreBounded) {
  MessageHeaders h;
  const std::string line = "X: " + std::string(1 << 20, 'x');
  EXPECT_EQ(h.Line(line), Taken::kHeader);
  EXPECT_EQ(h.Line(line), Taken::kHeader);
  EXPECT_EQ(h.Line(line), Taken::kHeader);
  EXPECT_EQ(h.Line(line), Taken::kTooLong);
}

}  // namespace
}  // namespace holdfast
