// Which agents are kept, and how many there are.
#include "server/deliver/agent_pool.h"

#include <set>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class User : public AgentUser {
 public:
  bool has = false, ended = false;
  void OnAgent(Door*, const std::string&, SessionId) override { has = true; }
  void OnRefused(bool, const std::string&, SessionId) override { ended = true; }
  void OnAgentFrame(Frame&) override {}
  void OnEnded(const std::string&) override {
    has = false;
    ended = true;
  }
};

class AgentPoolTest : public ::testing::Test {
 protected:
  AgentPoolTest() {
    std::tie(parent_, pools_) = MakeDoorPair(&loop_);
    parent_->SetCallbacks(
        [this](Frame& frame) {
          Dispatch<AgentRequest>(frame, [this](const AgentRequest& request) {
            requests_.push_back(request);
            if (start_) Start(request.request);
          });
        },
        [](absl::Status) {});
  }
  void Begin(size_t working, size_t idle) {
    pool_ = std::make_unique<AgentPool>(
        &loop_, pools_.get(), random_,
        AgentPool::Limits{working, /*per_user=*/4, idle});
  }
  void Start(uint64_t request) {
    auto [theirs, ours] = MakeDoorSockets();
    auto door = MakeDoor(&loop_, std::move(ours));
    door->SetCallbacks(
        [](Frame&) {},
        [this, request](absl::Status) { closed_.insert(request); });
    agents_[request] = std::move(door);
    AgentReady ready;
    ready.request = ready.agent = request;
    ready.ok = true;
    pool_->OnReady(ready, std::move(theirs));
  }
  // Those whose doors were closed do end.
  void EndClosed() {
    loop_.RunReady();
    for (const uint64_t agent : std::exchange(closed_, {})) {
      agents_.erase(agent);
      pool_->OnEnded({agent, "exited okay"});
    }
    loop_.RunReady();
  }
  static AgentKey Key(int user) {
    AgentKey key;
    key.run_as = absl::StrCat("user", user);
    return key;
  }
  void Want(int key, User* user) {
    pool_->Acquire(Key(key), user);
    loop_.RunReady();
  }

  FakeEventLoop loop_;
  absl::BitGen random_;
  std::unique_ptr<Door> parent_, pools_;
  std::unique_ptr<AgentPool> pool_;
  bool start_ = true;
  std::vector<AgentRequest> requests_;
  std::map<uint64_t, std::unique_ptr<Door>> agents_;
  std::set<uint64_t> closed_;
};

// As many users as agents are kept: nobody's is started twice.
TEST_F(AgentPoolTest, ManyUsersOneAfterTheOther) {
  Begin(/*working=*/2, /*idle=*/100);
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 100; ++i) {
      User user;
      Want(i, &user);
      EXPECT_TRUE(user.has);
      pool_->Release(&user);
    }
  }
  EXPECT_THAT(requests_, SizeIs(100));
  EXPECT_THAT(closed_, IsEmpty());
  EXPECT_EQ(pool_->agents(), 100u);
  loop_.Advance(kAgentIdle);
  EndClosed();
  EXPECT_EQ(pool_->agents(), 0u);
}

// The one that nobody has used for longest makes room.
TEST_F(AgentPoolTest, NoMoreAreKeptThanThat) {
  Begin(/*working=*/1, /*idle=*/3);
  for (const int i : {0, 1, 2, 3, 0, 4}) {
    User user;
    Want(i, &user);
    EndClosed();
    EXPECT_TRUE(user.has);
    pool_->Release(&user);
    EXPECT_LE(pool_->agents(), 4u);
  }
  std::vector<std::string> asked;
  for (const AgentRequest& r : requests_) asked.push_back(r.user);
  EXPECT_THAT(asked, ElementsAre("user0", "user1", "user2", "user3", "user4"));
  User one;
  Want(0, &one);
  EXPECT_TRUE(one.has);  // is still there
  EXPECT_THAT(requests_, SizeIs(5));
}

// Idle ones are no excuse for more to work at once.
TEST_F(AgentPoolTest, SoManyWorkAtOnce) {
  Begin(/*working=*/2, /*idle=*/10);
  for (int i = 0; i < 5; ++i) {
    User user;
    Want(i, &user);
    pool_->Release(&user);
  }
  std::vector<User> users(5);
  for (int i = 0; i < 5; ++i) Want(i, &users[static_cast<size_t>(i)]);
  EXPECT_EQ(std::count_if(users.begin(), users.end(),
                          [](const User& u) { return u.has; }),
            2);
  pool_->Release(&users[0]);
  loop_.RunReady();
  EXPECT_TRUE(users[2].has);
  EXPECT_FALSE(users[3].has);
  for (User& user : users) pool_->Forget(&user);
  for (User& user : users) pool_->Release(&user);
  // Those that are being started count, too.
  start_ = false;
  User more[3];
  for (int i = 0; i < 3; ++i) Want(10 + i, &more[i]);
  EXPECT_THAT(requests_, SizeIs(5 + 2));
}

TEST_F(AgentPoolTest, AnAgentThatEndsWhileItIsIdleIsForgotten) {
  Begin(/*working=*/2, /*idle=*/10);
  User user;
  Want(1, &user);
  pool_->Release(&user);
  agents_.clear();  // it closes its door first
  loop_.RunReady();
  User next;
  Want(1, &next);
  EXPECT_THAT(requests_, SizeIs(2));
  EXPECT_TRUE(next.has);
  pool_->OnEnded({requests_[0].request, "exited okay"});
  EXPECT_FALSE(next.ended);
  EXPECT_EQ(pool_->agents(), 1u);
  pool_->OnEnded({requests_[1].request, "terminated; signal 9"});
  EXPECT_TRUE(next.ended);
  EXPECT_EQ(pool_->agents(), 0u);
}

TEST_F(AgentPoolTest, RefusedIsWhoeverWaitsForThatKind) {
  Begin(/*working=*/5, /*idle=*/10);
  start_ = false;
  User one, two, other;
  Want(1, &one);
  Want(1, &two);
  Want(2, &other);
  ASSERT_THAT(requests_, SizeIs(3));
  AgentReady no;
  no.request = requests_[0].request;
  pool_->OnReady(no, OwnedFd());
  EXPECT_TRUE(one.ended);
  EXPECT_TRUE(two.ended);
  EXPECT_FALSE(other.ended);
  Start(requests_[1].request);  // nobody waits for that any more
  Start(requests_[2].request);
  loop_.RunReady();
  EXPECT_TRUE(other.has);
  EXPECT_EQ(pool_->agents(), 2u);
}

}  // namespace
}  // namespace holdfast
