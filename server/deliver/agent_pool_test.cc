// Which agents are kept, and how many there are.
#include "server/deliver/agent_pool.h"

#include <set>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/agent/agent_arguments.h"
#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

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
          Dispatch<AgentRequest, AgentKill>(frame,
                                            [this](auto& m) { Take(m); });
        },
        [](absl::Status) {});
  }
  void Begin(size_t working, size_t idle) {
    pool_ = std::make_unique<AgentPool>(
        &loop_, pools_.get(), random_,
        AgentPool::Limits{working, /*per_user=*/4, idle});
  }
  void Take(const AgentRequest& request) {
    requests_.push_back(request);
    if (start_) Start(request.request);
  }
  void Take(const AgentKill& kill) { killed_.push_back(kill.agent); }
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
  void RefuseForRoom(uint64_t request) {
    AgentReady no;
    no.request = request;
    no.error = absl::StrCat(kNoAgentRoom, ": not started");
    pool_->OnReady(no, OwnedFd());
    loop_.RunReady();
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
  std::vector<uint64_t> killed_;
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
  // Those that are being started count, too, and are half of them.
  start_ = false;
  User more[3];
  for (int i = 0; i < 3; ++i) Want(10 + i, &more[i]);
  EXPECT_THAT(requests_, SizeIs(5 + 1));
  Start(requests_[5].request);
  loop_.RunReady();
  EXPECT_TRUE(more[0].has);
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

// A user may stop his agents: they do not count for ever.
TEST_F(AgentPoolTest, WhoDoesNotEndIsKilled) {
  Begin(/*working=*/8, /*idle=*/10);
  std::vector<User> users(4);
  for (User& user : users) Want(1, &user);
  for (User& user : users) pool_->Release(&user);
  ASSERT_THAT(requests_, SizeIs(4));
  loop_.Advance(kAgentIdle);
  EXPECT_THAT(closed_, SizeIs(4));
  User next;
  Want(1, &next);
  EXPECT_THAT(requests_, SizeIs(4));
  loop_.Advance(kAgentLeave - absl::Seconds(1));
  EXPECT_THAT(killed_, IsEmpty());
  loop_.Advance(absl::Seconds(1));
  EXPECT_THAT(killed_, UnorderedElementsAre(1, 2, 3, 4));
  EndClosed();
  EXPECT_TRUE(next.has);
  loop_.Advance(kAgentLeave);
  EXPECT_THAT(killed_, SizeIs(4));
}

TEST_F(AgentPoolTest, SoIsWhoOnlyClosesHisDoor) {
  Begin(/*working=*/2, /*idle=*/10);
  User user;
  Want(1, &user);
  agents_.clear();
  loop_.RunReady();
  loop_.Advance(kAgentLeave);
  EXPECT_THAT(killed_, ElementsAre(1));
  pool_->OnEnded({1, "terminated; signal 9"});
  EXPECT_TRUE(user.ended);
}

// What is known of a user when his agent begins may change.
TEST_F(AgentPoolTest, ABusyOneIsNotKeptForEver) {
  Begin(/*working=*/2, /*idle=*/10);
  User user;
  const absl::Duration step = kAgentIdle / 2;
  for (absl::Duration t; t < kAgentAge; t += step) {
    EXPECT_THAT(closed_, IsEmpty()) << t;
    Want(1, &user);
    pool_->Release(&user);
    loop_.Advance(step);
  }
  EXPECT_THAT(requests_, SizeIs(1));
  EXPECT_THAT(closed_, ElementsAre(1));
  EndClosed();
  Want(1, &user);
  EXPECT_THAT(requests_, SizeIs(2));
  loop_.Advance(kAgentAge);  // what it does it may end
  EXPECT_THAT(closed_, IsEmpty());
  pool_->Release(&user);
  loop_.RunReady();
  EXPECT_THAT(closed_, ElementsAre(2));
}

TEST_F(AgentPoolTest, ASlowProgramLeavesRoomForOthers) {
  Begin(/*working=*/4, /*idle=*/10);
  start_ = false;
  std::vector<User> slow(5);
  for (int i = 0; i < 5; ++i) {
    AgentKey key = Key(i);
    key.action = "p";
    key.program = "people";
    pool_->Acquire(key, &slow[static_cast<size_t>(i)]);
  }
  loop_.RunReady();
  EXPECT_THAT(requests_, SizeIs(2));
  start_ = true;
  User other;
  Want(7, &other);
  EXPECT_TRUE(other.has);
  pool_->Release(&other);
  // One answer makes room for one more question.
  start_ = false;
  Start(requests_[0].request);
  loop_.RunReady();
  EXPECT_TRUE(slow[0].has);
  EXPECT_THAT(requests_, SizeIs(4));
  EXPECT_EQ(requests_[3].user, "user2");
}

// Gives its agent back at once.
class HastyUser : public User {
 public:
  explicit HastyUser(AgentPool* pool) : pool_(pool) {}
  void OnAgent(Door* door, const std::string& home,
               SessionId session) override {
    User::OnAgent(door, home, session);
    pool_->Release(this);
  }

 private:
  AgentPool* const pool_;
};

// The first in line was looked at before the agent that is in its way was free.
TEST_F(AgentPoolTest, WhatIsReleasedMeanwhileIsSeen) {
  Begin(/*working=*/1, /*idle=*/0);
  HastyUser hasty(pool_.get());
  Want(0, &hasty);
  ASSERT_TRUE(hasty.has);
  User first;
  pool_->Acquire(Key(1), &first);
  pool_->Acquire(Key(0), &hasty);
  EndClosed();
  EXPECT_TRUE(first.has);
}

TEST_F(AgentPoolTest, IdleOnesMakeRoomWhenThereIsNone) {
  Begin(/*working=*/10, /*idle=*/10);
  User busy[2], idle, next, last;
  Want(0, &busy[0]);
  Want(1, &busy[1]);
  Want(2, &idle);
  pool_->Release(&idle);
  start_ = false;
  Want(3, &next);
  RefuseForRoom(requests_.back().request);
  EXPECT_FALSE(next.ended);
  EXPECT_THAT(closed_, ElementsAre(3));
  EXPECT_THAT(requests_, SizeIs(4));  // not again before it has ended
  start_ = true;
  EndClosed();
  EXPECT_TRUE(next.has);
  EXPECT_EQ(pool_->agents(), 3u);
  // Nor is parent asked for more, for a time.
  Want(4, &last);
  EXPECT_THAT(requests_, SizeIs(5));
  loop_.Advance(kAgentsFull);
  EXPECT_TRUE(last.has);
  EXPECT_EQ(pool_->agents(), 4u);
}

TEST_F(AgentPoolTest, WithoutIdleOnesItIsAnError) {
  Begin(/*working=*/10, /*idle=*/10);
  User busy, next;
  Want(0, &busy);
  start_ = false;
  Want(1, &next);
  RefuseForRoom(requests_.back().request);
  EXPECT_TRUE(next.ended);
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
