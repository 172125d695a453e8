#include "server/receive/reverse_names.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

class ReverseNamesTest : public testing::Test {
 protected:
  ReverseNamesTest() : names_(&loop_) {}

  void Connect(uint32_t number = 0) {
    auto [ours, relays] = MakeDoorPair(&loop_);
    relays->SetCallbacks(
        [this](Frame& frame) {
          Dispatch<ReverseRequest>(
              frame, [this](const ReverseRequest& r) { asked_.push_back(r); });
        },
        [](absl::Status) {});
    relays_[number] = std::move(relays);
    names_.SetDoor(number, std::move(ours));
  }
  void Find(const std::string& address) {
    names_.Find(address,
                [this](const std::string& name) { found_.push_back(name); });
    loop_.RunReady();
  }
  void Answer(size_t index, const std::string& name, uint32_t relay = 0) {
    ReverseAnswer answer;
    answer.question = asked_[index].question;
    answer.name = name;
    relays_[relay]->Send(answer);
    loop_.RunReady();
  }

  FakeEventLoop loop_;
  ReverseNames names_;
  std::map<uint32_t, std::unique_ptr<Door>> relays_;
  std::vector<ReverseRequest> asked_;
  std::vector<std::string> found_;
};

using Names = std::vector<std::string>;

TEST_F(ReverseNamesTest, WithoutARelayNobodyHasAName) {
  Find("192.0.2.1");
  EXPECT_EQ(found_, Names{"<unknown>"});
}

TEST_F(ReverseNamesTest, AsksOnceForOneAddress) {
  Connect();
  Find("192.0.2.1");
  Find("192.0.2.1");
  ASSERT_EQ(asked_.size(), 1u);
  Answer(0, "host.test");
  EXPECT_EQ(found_, (Names{"host.test", "host.test"}));
  Find("192.0.2.1");
  EXPECT_EQ(asked_.size(), 1u);
  EXPECT_EQ(found_.size(), 3u);

  loop_.Advance(kReverseNameLife);
  Find("192.0.2.1");
  EXPECT_EQ(asked_.size(), 2u);
}

TEST_F(ReverseNamesTest, GivesUpAfterTheTimeout) {
  Connect();
  Find("192.0.2.1");
  loop_.Advance(kReverseNameTimeout - absl::Seconds(1));
  EXPECT_TRUE(found_.empty());
  loop_.Advance(absl::Seconds(1));
  EXPECT_EQ(found_, Names{"<unknown>"});
  Answer(0, "late.test");
  EXPECT_EQ(found_.size(), 1u);
}

TEST_F(ReverseNamesTest, ARelayThatDiesLeavesNobodyWaiting) {
  Connect();
  Find("192.0.2.1");
  relays_.clear();
  loop_.RunReady();
  EXPECT_EQ(found_, Names{"<unknown>"});
}

TEST_F(ReverseNamesTest, AReplacedDoorDoesNotCloseItsSuccessor) {
  Connect();
  Connect();
  Find("192.0.2.1");
  ASSERT_EQ(asked_.size(), 1u);
  Answer(0, "host.test");
  EXPECT_EQ(found_, Names{"host.test"});
}

TEST_F(ReverseNamesTest, ANameThatIsNoNameIsNone) {
  Connect();
  Find("192.0.2.1");
  Answer(0, "evil\r\nX-Header: y");
  EXPECT_EQ(found_, Names{"<unknown>"});
}

TEST_F(ReverseNamesTest, RemembersABoundedNumber) {
  Connect();
  for (size_t i = 0; i <= kMaxReverseNames; ++i) {
    Find(absl::StrCat("2001:db8::", i));
    Answer(i, "host.test");
  }
  // The oldest was forgotten, the newest not.
  Find(absl::StrCat("2001:db8::", kMaxReverseNames));
  EXPECT_EQ(asked_.size(), kMaxReverseNames + 1);
  Find("2001:db8::0");
  EXPECT_EQ(asked_.size(), kMaxReverseNames + 2);
}

}  // namespace
}  // namespace holdfast
