#include "server/parent/supervisor.h"

#include <signal.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/loop/fake_event_loop.h"
#include "server/parent/fake_processes.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

// The other end of one room: what a room's process would be.
struct FakeRoom {
  FakeProcesses::Child* child = nullptr;
  std::unique_ptr<Door> door;
  Start start;
  bool started = false;
  std::vector<NewDoor> doors;
  std::vector<OwnedFd> door_fds;
  std::vector<Workers> workers;
  std::vector<uint32_t> stops;
  std::vector<bool> verbose;
};

class Host : public SupervisorHost {
 public:
  Start MakeStart(Room, uint32_t, std::vector<OwnedFd>*) override {
    Start start;
    start.server_name = "mx.example.org";
    return start;
  }
  bool OnRoomFrame(Room, WorkerId, Door*, Frame& frame) override {
    return frame.type == UserQuestion::kType;
  }
  bool OnRoomDied(Room room, WorkerId worker) override {
    died.push_back(worker);
    return room == Room::kDeliver && agents_live;
  }
  void OnRoomReady(Room room, WorkerId worker, Door* door) override {
    EXPECT_NE(door, nullptr);
    ready.emplace_back(room, worker);
  }
  void OnVerbose(bool v) override { verbose = v; }
  void OnStopped() override { stopped = true; }

  std::vector<WorkerId> died;
  std::vector<std::pair<Room, WorkerId>> ready;
  bool agents_live = false;
  bool verbose = false;
  bool stopped = false;
};

class SupervisorTest : public testing::Test {
 protected:
  SupervisorTest() { Make(/*filters=*/false); }
  void Make(bool filters) {
    Supervisor::Options options;
    options.folder = "/x";
    options.receivers = 2;
    options.relays = 2;
    options.filters = filters;
    options.first_worker = WorkerId(100);
    supervisor_ =
        std::make_unique<Supervisor>(&loop_, &processes_, &host_, options);
  }
  void TearDown() override {
    rooms_.clear();
    supervisor_.reset();
  }

  // Plays every process that was started and not yet met.
  void Meet() {
    loop_.RunReady();
    for (size_t i = rooms_.size(); i < processes_.children.size(); ++i) {
      auto room = std::make_unique<FakeRoom>();
      FakeRoom* r = room.get();
      r->child = processes_.children[i].get();
      r->door = MakeDoor(&loop_, std::move(r->child->start.fds.at(0)));
      r->door->SetCallbacks([this, r](Frame& frame) { OnFrame(r, frame); },
                            [](absl::Status) {});
      rooms_.push_back(std::move(room));
    }
    loop_.RunReady();
  }
  void OnFrame(FakeRoom* room, Frame& frame) {
    if (!frame.fds.empty() && frame.type == NewDoor::kType)
      room->door_fds.push_back(std::move(frame.fds[0]));
    ASSERT_TRUE((Dispatch<Start, NewDoor, Workers, StopRoom, SetVerbose>(
        frame, [room](auto& m) { Take(room, m); })));
  }
  static void Take(FakeRoom* room, Start& start) {
    EXPECT_FALSE(room->started);
    room->started = true;
    room->start = start;
  }
  static void Take(FakeRoom* room, NewDoor& door) {
    room->doors.push_back(door);
  }
  static void Take(FakeRoom* room, Workers& w) { room->workers.push_back(w); }
  static void Take(FakeRoom* room, StopRoom& stop) {
    room->stops.push_back(stop.seconds);
  }
  static void Take(FakeRoom* room, SetVerbose& m) {
    room->verbose.push_back(m.verbose);
  }

  // The living room of this kind.
  FakeRoom* Find(Room kind, uint32_t number = 0) {
    for (auto& room : rooms_) {
      if (!room->child->ended && room->started && room->start.room == kind &&
          room->start.number == number)
        return room.get();
    }
    return nullptr;
  }
  void Ready(Room kind, uint32_t number = 0) {
    Find(kind, number)->door->Send(holdfast::Ready{});
    loop_.RunReady();
  }
  void BeginAll() {
    supervisor_->Begin();
    Meet();
    Ready(Room::kKeys);
    Ready(Room::kLookup);
    Ready(Room::kDeliver);
    Ready(Room::kQueue);
    for (uint32_t i : {0u, 1u}) {
      Ready(Room::kReceive, i);
      Ready(Room::kRelay, i);
    }
  }
  void End(FakeRoom* room, int status = kExitedOne) {
    room->door.reset();
    room->door_fds.clear();
    processes_.End(room->child, status);
    loop_.RunReady();
  }
  std::vector<std::string> Peers(FakeRoom* room) {
    std::vector<std::string> out;
    for (const NewDoor& door : room->doors)
      out.push_back(RoomName(door.peer) + std::to_string(door.number));
    return out;
  }
  std::set<uint64_t> Alive(const Workers& workers) {
    std::set<uint64_t> out;
    for (WorkerId worker : workers.alive)
      out.insert(static_cast<uint64_t>(worker));
    return out;
  }

  FakeEventLoop loop_;
  FakeProcesses processes_;
  Host host_;
  std::unique_ptr<Supervisor> supervisor_;
  std::vector<std::unique_ptr<FakeRoom>> rooms_;
};

TEST_F(SupervisorTest, StartsEveryRoomAndJoinsThem) {
  BeginAll();
  ASSERT_EQ(processes_.children.size(), 8u);
  EXPECT_EQ(processes_.children[0]->start.path, "/x/smtpd-keys");
  std::set<WorkerId> ids;
  for (auto& room : rooms_) {
    EXPECT_TRUE(room->started);
    EXPECT_EQ(room->start.server_name, "mx.example.org");
    EXPECT_EQ(room->doors.size(), room->door_fds.size());
    ids.insert(room->start.worker);
  }
  EXPECT_EQ(ids.size(), 8u);
  EXPECT_THAT(Peers(Find(Room::kQueue)),
              UnorderedElementsAre("lookup0", "deliver0", "relay0", "relay1",
                                   "receive0", "receive1"));
  EXPECT_THAT(
      Peers(Find(Room::kReceive, 1)),
      UnorderedElementsAre("queue0", "lookup0", "relay0", "relay1", "keys0"));
  EXPECT_THAT(Peers(Find(Room::kRelay, 0)),
              UnorderedElementsAre("queue0", "lookup0", "receive0", "receive1",
                                   "keys0"));
  EXPECT_THAT(Peers(Find(Room::kKeys)),
              UnorderedElementsAre("receive0", "receive1", "relay0", "relay1"));
  EXPECT_THAT(Peers(Find(Room::kDeliver)), UnorderedElementsAre("queue0"));
  EXPECT_THAT(Peers(Find(Room::kLookup)),
              UnorderedElementsAre("queue0", "receive0", "receive1", "relay0",
                                   "relay1"));
  // Both ends of a door are one socket pair.
  FakeRoom* deliver = Find(Room::kDeliver);
  FakeRoom* queue = Find(Room::kQueue);
  for (size_t i = 0; i < queue->doors.size(); ++i) {
    if (queue->doors[i].peer != Room::kDeliver) continue;
    EXPECT_EQ(queue->doors[i].worker, deliver->start.worker);
    EXPECT_EQ(write(queue->door_fds[i].get(), "x", 1), 1);
  }
  char c = 0;
  EXPECT_EQ(read(deliver->door_fds.at(0).get(), &c, 1), 1);
  EXPECT_EQ(c, 'x');
  // queue hears who lives, all of them.
  ASSERT_EQ(queue->workers.size(), 1u);
  EXPECT_EQ(queue->workers[0].alive.size(), 5u);
}

TEST_F(SupervisorTest, FiltersAreThereIfTheyAreWanted) {
  Make(/*filters=*/true);
  BeginAll();
  EXPECT_EQ(host_.ready.size(), 8u);
  FakeRoom* filters = Find(Room::kFilters);
  ASSERT_NE(filters, nullptr);
  EXPECT_EQ(filters->child->start.path, "/x/smtpd-filters");
  EXPECT_THAT(filters->doors, IsEmpty());
  Ready(Room::kFilters);
  EXPECT_EQ(host_.ready.back(),
            std::pair(Room::kFilters, filters->start.worker));
  EXPECT_THAT(Peers(filters),
              UnorderedElementsAre("queue0", "lookup0", "relay0", "relay1",
                                   "receive0", "receive1"));
  // It is no worker: it has no claims.
  EXPECT_EQ(Find(Room::kQueue)->workers.at(0).alive.size(), 5u);
  // What is under way passes them until the end.
  supervisor_->Stop();
  for (Room room :
       {Room::kReceive, Room::kRelay, Room::kDeliver, Room::kQueue}) {
    EXPECT_THAT(filters->stops, IsEmpty()) << RoomName(room);
    for (FakeRoom* one = nullptr;
         (one = Find(room)) != nullptr || (one = Find(room, 1)) != nullptr;)
      End(one, kExitedOkay);
  }
  EXPECT_EQ(filters->stops.size(), 1u);
  for (Room room : {Room::kLookup, Room::kKeys, Room::kFilters}) {
    EXPECT_FALSE(host_.stopped) << RoomName(room);
    End(Find(room), kExitedOkay);
  }
  EXPECT_TRUE(host_.stopped);
}

TEST_F(SupervisorTest, RestartDelays) {
  EXPECT_EQ(RestartDelay(0), absl::ZeroDuration());
  EXPECT_EQ(RestartDelay(1), absl::Milliseconds(100));
  EXPECT_EQ(RestartDelay(2), absl::Milliseconds(500));
  EXPECT_EQ(RestartDelay(3), absl::Seconds(1));
  EXPECT_EQ(RestartDelay(4), absl::Seconds(3));
  EXPECT_EQ(RestartDelay(400), absl::Seconds(3));
}

TEST_F(SupervisorTest, ADeadQueueComesBackWithNewDoors) {
  BeginAll();
  const WorkerId first = Find(Room::kQueue)->start.worker;
  for (FakeRoom* room : {Find(Room::kRelay, 1), Find(Room::kDeliver)})
    room->doors.clear();
  for (int failure = 0; failure < 7; ++failure) {
    End(Find(Room::kQueue));
    const absl::Duration delay = RestartDelay(failure);
    if (delay > absl::ZeroDuration()) {
      loop_.Advance(delay - absl::Milliseconds(1));
      Meet();
      EXPECT_EQ(Find(Room::kQueue), nullptr) << failure;
      loop_.Advance(absl::Milliseconds(1));
    }
    Meet();
    ASSERT_NE(Find(Room::kQueue), nullptr) << failure;
  }
  FakeRoom* queue = Find(Room::kQueue);
  EXPECT_NE(queue->start.worker, first);
  Ready(Room::kQueue);
  EXPECT_EQ(queue->doors.size(), 6u);
  for (FakeRoom* room : {Find(Room::kRelay, 1), Find(Room::kDeliver)}) {
    ASSERT_EQ(room->doors.size(), 1u);
    EXPECT_EQ(room->doors[0].worker, queue->start.worker);
  }
  // After the doors.
  ASSERT_EQ(queue->workers.size(), 1u);
  EXPECT_EQ(queue->workers[0].alive.size(), 5u);
  // Having lived well, it is restarted at once again.
  loop_.Advance(kGoodLife);
  End(queue);
  Meet();
  EXPECT_NE(Find(Room::kQueue), nullptr);
}

TEST_F(SupervisorTest, QueueHearsOfADeadRelay) {
  BeginAll();
  FakeRoom* relay = Find(Room::kRelay, 1);
  const auto old = static_cast<uint64_t>(relay->start.worker);
  End(relay, kKilled);
  FakeRoom* queue = Find(Room::kQueue);
  ASSERT_EQ(queue->workers.size(), 2u);
  EXPECT_EQ(Alive(queue->workers[1]).count(old), 0u);
  Meet();
  FakeRoom* next = Find(Room::kRelay, 1);
  ASSERT_NE(next, nullptr);
  EXPECT_NE(static_cast<uint64_t>(next->start.worker), old);
  queue->doors.clear();
  Ready(Room::kRelay, 1);
  ASSERT_EQ(queue->doors.size(), 1u);
  EXPECT_EQ(queue->doors[0].worker, next->start.worker);
  EXPECT_EQ(queue->doors[0].number, 1u);
}

TEST_F(SupervisorTest, ADeadDeliverIsDeadWhenItsAgentsAre) {
  BeginAll();
  host_.agents_live = true;
  FakeRoom* deliver = Find(Room::kDeliver);
  FakeRoom* queue = Find(Room::kQueue);
  const WorkerId old = deliver->start.worker;
  End(deliver);
  EXPECT_EQ(queue->workers.size(), 1u);
  // Another death meanwhile: it still counts as alive.
  End(Find(Room::kRelay, 0));
  ASSERT_EQ(queue->workers.size(), 2u);
  EXPECT_EQ(Alive(queue->workers[1]).count(static_cast<uint64_t>(old)), 1u);
  supervisor_->OnLastEnded(old);
  loop_.RunReady();
  ASSERT_EQ(queue->workers.size(), 3u);
  EXPECT_EQ(Alive(queue->workers[2]).count(static_cast<uint64_t>(old)), 0u);
}

TEST_F(SupervisorTest, ARoomThatSaysNonsenseIsKilled) {
  BeginAll();
  FakeRoom* receive = Find(Room::kReceive, 0);
  receive->door->Send(AgentRequest{});
  loop_.RunReady();
  EXPECT_THAT(receive->child->signals, ElementsAre(SIGKILL));
  // Only queue may speak of verbosity; nobody is ready twice.
  FakeRoom* relay = Find(Room::kRelay, 0);
  relay->door->Send(SetVerbose{});
  FakeRoom* lookup = Find(Room::kLookup);
  lookup->door->Send(UserQuestion{});
  FakeRoom* deliver = Find(Room::kDeliver);
  deliver->door->Send(holdfast::Ready{});
  loop_.RunReady();
  EXPECT_THAT(relay->child->signals, ElementsAre(SIGKILL));
  EXPECT_THAT(lookup->child->signals, IsEmpty());
  EXPECT_THAT(deliver->child->signals, ElementsAre(SIGKILL));
}

TEST_F(SupervisorTest, ARoomWithoutADoorIsKilledAfterAWhile) {
  BeginAll();
  FakeRoom* relay = Find(Room::kRelay, 0);
  relay->door.reset();
  loop_.RunReady();
  EXPECT_THAT(relay->child->signals, IsEmpty());
  loop_.Advance(absl::Seconds(6));
  EXPECT_THAT(relay->child->signals, ElementsAre(SIGKILL));
}

TEST_F(SupervisorTest, ARoomThatEndsWithSomethingUnreadIsNoSuspect) {
  BeginAll();
  FakeRoom* deliver = Find(Room::kDeliver);
  deliver->door->PauseReading();
  SetVerbose message;
  Find(Room::kQueue)->door->Send(message);
  loop_.RunReady();
  deliver->door.reset();  // resets the connection
  loop_.RunReady();
  EXPECT_THAT(deliver->child->signals, IsEmpty());
}

TEST_F(SupervisorTest, VerboseGoesToAll) {
  BeginAll();
  SetVerbose message;
  message.verbose = true;
  Find(Room::kQueue)->door->Send(message);
  loop_.RunReady();
  EXPECT_TRUE(host_.verbose);
  for (auto& room : rooms_) EXPECT_THAT(room->verbose, ElementsAre(true));
}

TEST_F(SupervisorTest, StopsInGoodOrder) {
  BeginAll();
  std::vector<FakeRoom*> receives = {Find(Room::kReceive, 0),
                                     Find(Room::kReceive, 1)};
  std::vector<FakeRoom*> workers = {
      Find(Room::kRelay, 0), Find(Room::kRelay, 1), Find(Room::kDeliver)};
  FakeRoom* queue = Find(Room::kQueue);
  FakeRoom* lookup = Find(Room::kLookup);
  FakeRoom* keys = Find(Room::kKeys);
  supervisor_->Stop();
  loop_.RunReady();
  for (FakeRoom* room : receives) EXPECT_EQ(room->stops.size(), 1u);
  for (FakeRoom* room : workers) EXPECT_THAT(room->stops, IsEmpty());
  End(receives[0], kExitedOkay);
  EXPECT_THAT(workers[0]->stops, IsEmpty());
  End(receives[1], kExitedOkay);
  for (FakeRoom* room : workers) EXPECT_EQ(room->stops.size(), 1u);
  EXPECT_THAT(queue->stops, IsEmpty());
  for (FakeRoom* room : workers) End(room, kExitedOkay);
  EXPECT_EQ(queue->stops.size(), 1u);
  EXPECT_THAT(lookup->stops, IsEmpty());
  EXPECT_THAT(keys->stops, IsEmpty());
  End(queue, kExitedOkay);
  EXPECT_EQ(lookup->stops.size(), 1u);
  EXPECT_EQ(keys->stops.size(), 1u);
  End(keys, kExitedOkay);
  EXPECT_FALSE(host_.stopped);
  End(lookup, kExitedOkay);
  EXPECT_TRUE(host_.stopped);
  EXPECT_EQ(processes_.children.size(), 8u);  // nobody came back
}

TEST_F(SupervisorTest, WhoDoesNotStopIsKilledWithin30Seconds) {
  BeginAll();
  supervisor_->Stop();
  absl::Duration took;
  while (!host_.stopped && took < absl::Minutes(2)) {
    loop_.Advance(absl::Seconds(1));
    took += absl::Seconds(1);
    for (auto& room : rooms_) {
      if (room->child->ended || room->child->signals.empty()) continue;
      EXPECT_THAT(room->child->signals, ElementsAre(SIGKILL));
      End(room.get(), kKilled);
    }
  }
  EXPECT_TRUE(host_.stopped);
  EXPECT_LE(took, kStopTime);
}

TEST_F(SupervisorTest, WhatWaitsForARestartWhenStoppingStaysAway) {
  BeginAll();
  End(Find(Room::kLookup));
  Meet();
  End(Find(Room::kLookup));  // waits now
  supervisor_->Stop();
  for (auto& room : rooms_) {
    if (!room->child->ended) End(room.get(), kExitedOkay);
  }
  EXPECT_TRUE(host_.stopped);
  loop_.Advance(absl::Seconds(10));
  EXPECT_THAT(processes_.Living(), IsEmpty());
}

TEST_F(SupervisorTest, WithoutHopeAllAreStopped) {
  BeginAll();
  // It is the queue that knows.
  End(Find(Room::kReceive), kHopelessStatus << 8);
  Meet();
  EXPECT_FALSE(supervisor_->gave_up());
  End(Find(Room::kQueue), kHopelessStatus << 8);
  EXPECT_TRUE(supervisor_->gave_up());
  for (auto& room : rooms_) {
    if (!room->child->ended) End(room.get(), kExitedOkay);
  }
  EXPECT_TRUE(host_.stopped);
  loop_.Advance(absl::Seconds(10));
  EXPECT_THAT(processes_.Living(), IsEmpty());
}

TEST_F(SupervisorTest, NoProcessesLeftIsTriedAgain) {
  processes_.refuse = true;
  supervisor_->Begin();
  loop_.RunReady();
  EXPECT_THAT(processes_.children, IsEmpty());
  processes_.refuse = false;
  loop_.Advance(absl::Seconds(3));
  EXPECT_EQ(processes_.children.size(), 8u);
}

}  // namespace
}  // namespace holdfast
