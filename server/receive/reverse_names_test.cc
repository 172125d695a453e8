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
    names_.Find(address, [this](const ClientName& name) {
      found_.push_back(name.name);
      confirmed_.push_back(name.fcrdns);
    });
    loop_.RunReady();
  }
  using Confirmed = ReverseAnswer::Confirmed;
  void Answer(size_t index, const std::string& name, uint32_t relay = 0,
              Confirmed confirmed = Confirmed::kPass) {
    ReverseAnswer answer;
    answer.fcrdns = confirmed;
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
  std::vector<Confirmed> confirmed_;
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

TEST_F(ReverseNamesTest, SaysWhetherTheNameIsConfirmed) {
  Connect();
  Find("192.0.2.1");
  Answer(0, "host.test");
  Find("192.0.2.2");
  Answer(1, "other.test", 0, Confirmed::kFail);
  Find("192.0.2.3");
  Answer(2, "", 0, Confirmed::kError);
  // No name cannot be confirmed.
  Find("192.0.2.4");
  Answer(3, "no name", 0, Confirmed::kPass);
  Find("192.0.2.1");
  EXPECT_EQ(found_, (Names{"host.test", "other.test", "<unknown>", "<unknown>",
                           "host.test"}));
  EXPECT_EQ(confirmed_,
            (std::vector{Confirmed::kPass, Confirmed::kFail, Confirmed::kError,
                         Confirmed::kFail, Confirmed::kPass}));
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
