#include "server/keys/ticket_key_maker.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

using testing::ElementsAre;

std::vector<std::string> Names(const TicketKeys& keys) {
  std::vector<std::string> out;
  for (const auto& key : keys.keys) out.push_back(key.name.substr(0, 1));
  return out;
}

TEST(TicketKeyMaker, PresentPreviousNext) {
  FakeEventLoop loop;
  char next = 'a';
  int changes = 0;
  TicketKeyMaker maker(
      &loop,
      [&](size_t octets) {
        // A name, then a secret.
        const char letter = octets == 16 ? next : next++;
        return std::string(octets, letter);
      },
      [&] { ++changes; });
  EXPECT_THAT(Names(maker.keys()), ElementsAre("a", "b"));
  EXPECT_EQ(maker.keys().keys[0].name.size(), 16u);
  EXPECT_EQ(maker.keys().keys[0].secret, std::string(48, 'a'));
  loop.Advance(kTicketKeyLife - absl::Seconds(1));
  EXPECT_EQ(changes, 0);
  loop.Advance(absl::Seconds(1));
  EXPECT_EQ(changes, 1);
  EXPECT_THAT(Names(maker.keys()), ElementsAre("b", "a", "c"));
  EXPECT_EQ(maker.keys().keys[1].secret, std::string(48, 'a'));
  loop.Advance(kTicketKeyLife);
  EXPECT_THAT(Names(maker.keys()), ElementsAre("c", "b", "d"));
  loop.Advance(kTicketKeyLife);
  EXPECT_THAT(Names(maker.keys()), ElementsAre("d", "c", "e"));
  EXPECT_EQ(changes, 3);
}

TEST(TicketKeyMaker, TheLibraryGivesRandomNumbers) {
  EXPECT_EQ(SecureRandom(48).size(), 48u);
  EXPECT_NE(SecureRandom(48), SecureRandom(48));
}

}  // namespace
}  // namespace holdfast
