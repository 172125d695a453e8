#include "protocol/milter_packets.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using namespace std::string_literals;

TEST(MilterPacketReader, CutsAnywhere) {
  const std::string wire = "\0\0\0\1c\0\0\0\4yabc"s;
  for (size_t piece = 1; piece <= wire.size(); ++piece) {
    MilterPacketReader reader;
    std::string seen;
    for (size_t at = 0; at < wire.size(); at += piece) {
      absl::string_view bytes = absl::string_view(wire).substr(at, piece);
      while (!bytes.empty()) {
        auto packet = reader.Read(&bytes);
        ASSERT_TRUE(packet.ok());
        if (packet->has_value())
          seen += (*packet)->code + ("[" + (*packet)->data + "]");
      }
    }
    EXPECT_EQ(seen, "c[]y[abc]") << piece;
  }
}

TEST(MilterPacketReader, ImpossibleLengths) {
  for (const std::string& wire : {"\0\0\0\0"s, "\0\x10\0\1"s, "HTTP"s}) {
    MilterPacketReader reader;
    absl::string_view bytes = wire;
    EXPECT_FALSE(reader.Read(&bytes).ok()) << wire;
  }
  MilterPacketReader reader;
  const std::string longest = "\0\x10\0\0"s;
  absl::string_view bytes = longest;
  EXPECT_TRUE(reader.Read(&bytes).ok());
}

TEST(MilterPackets, Put) {
  std::string data, out;
  PutMilterShort(258, &data);
  PutMilterString("a\0b"s, &data);
  PutMilterPacket(MilterCommand::kHelo, data, &out);
  EXPECT_EQ(out, "\0\0\0\5H\1\2a\0"s);
}

TEST(MilterOptions, WithMacroNames) {
  const auto options = ParseMilterOptions(
      "\0\0\0\6\0\0\0\x11\0\x10\0\2\0\0\0\0j {client_addr}\0\0\0\0\5\0"s);
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->version, 6);
  EXPECT_EQ(options->actions, kMilterAddHeaders | kMilterChangeHeaders);
  EXPECT_EQ(options->steps, kMilterLeadingSpace | kMilterNoHelo);
  EXPECT_THAT(options->macros.at(0), ElementsAre("j", "client_addr"));
  EXPECT_THAT(options->macros.at(5), ElementsAre());
}

TEST(MilterOptions, Refused) {
  EXPECT_TRUE(ParseMilterOptions("\0\0\0\2\0\0\0\0\0\0\0\0"s).ok());
  // Too old, too new, actions and steps that there are not, cut, macros of a
  // stage that there is not, without NUL.
  for (const std::string& data :
       {"\0\0\0\1\0\0\0\0\0\0\0\0"s, "\0\0\0\7\0\0\0\0\0\0\0\0"s,
        "\0\0\0\6\0\0\2\0\0\0\0\0"s, "\0\0\0\6\0\0\0\0\x10\0\0\0"s,
        "\0\0\0\6\0\0\0\0\0\0\0"s, "\0\0\0\6\0\0\0\0\0\0\0\0\0\0\0\7j\0"s,
        "\0\0\0\6\0\0\0\0\0\0\0\0\0\0\0\1j"s})
    EXPECT_FALSE(ParseMilterOptions(data).ok()) << testing::PrintToString(data);
}

std::string Change(char code, const std::string& data) {
  const auto change = ParseMilterChange({code, data});
  if (!change.ok()) return "malformed";
  if (!change->has_value()) return "none";
  const MilterChange& c = **change;
  return std::to_string(static_cast<int>(c.kind)) + " " +
         std::to_string(c.index) + " " + c.name + "|" + c.value + "|" +
         c.parameters;
}

TEST(MilterChange, Forms) {
  EXPECT_EQ(Change('h', "X-A\0b\0"s), "0 0 X-A|b|");
  EXPECT_EQ(Change('i', "\0\0\0\2X-A\0b\0"s), "1 2 X-A|b|");
  EXPECT_EQ(Change('m', "\0\0\0\1X-A\0\0"s), "2 1 X-A||");
  EXPECT_EQ(Change('b', "new\r\nbo\0dy"s), "3 0 |new\r\nbo\0dy|"s);
  EXPECT_EQ(Change('e', "<a@b>\0"s), "4 0 |<a@b>|");
  EXPECT_EQ(Change('e', "<a@b>\0SIZE=1\0"s), "4 0 |<a@b>|SIZE=1");
  EXPECT_EQ(Change('+', "<c@d>\0"s), "5 0 |<c@d>|");
  EXPECT_EQ(Change('2', "<c@d>\0NOTIFY=NEVER\0"s), "5 0 |<c@d>|NOTIFY=NEVER");
  EXPECT_EQ(Change('-', "<c@d>\0"s), "6 0 |<c@d>|");
  EXPECT_EQ(Change('q', "why\0"s), "7 0 |why|");
  EXPECT_EQ(Change('c', ""), "none");
}

TEST(MilterChange, Malformed) {
  EXPECT_EQ(Change('h', "X-A\0b"s), "malformed");           // no NUL
  EXPECT_EQ(Change('h', "X-A\0b\0c"s), "malformed");        // too much
  EXPECT_EQ(Change('h', "\0b\0"s), "malformed");            // no name
  EXPECT_EQ(Change('h', "X A\0b\0"s), "malformed");         // not a name
  EXPECT_EQ(Change('h', "X:\nB\0b\0"s), "malformed");       // two names
  EXPECT_EQ(Change('i', "\0\0X-A\0b"s), "malformed");       // index cut
  EXPECT_EQ(Change('+', "<a@b>\r\nDATA\0"s), "malformed");  // not an address
}

TEST(MilterReply, OneLine) {
  EXPECT_EQ(ParseMilterReply("550 5.7.1 No\0"s).value(), "550 5.7.1 No");
  EXPECT_EQ(ParseMilterReply("451 100%% full\0"s).value(), "451 100% full");
  EXPECT_EQ(ParseMilterReply("550-5.7.1 No\r\n550 5.7.1 way\0"s).value(),
            "550 5.7.1 No way");
  for (const std::string& data :
       {"250 2.0.0 Ok\0"s, "55\0"s, "550 No"s, "550 a\0b\0"s, "\0"s, ""s,
        "550 a\r\n551 b\0"s, "550 bell\a\0"s, "Nonsense\0"s})
    EXPECT_FALSE(ParseMilterReply(data).ok()) << testing::PrintToString(data);
}

}  // namespace
}  // namespace holdfast
