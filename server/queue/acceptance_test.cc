#include "server/queue/acceptance.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/log/log.h"
#include "server/loop/fake_event_loop.h"
#include "server/queue/accept_check.h"
#include "server/queue/fake_queue_store.h"

namespace holdfast {
namespace {

// The far end: a receive worker.
class FakeReceive {
 public:
  FakeReceive(EventLoop* loop, Acceptance* acceptance, uint32_t number,
              WorkerId id) {
    std::unique_ptr<Door> near;
    std::tie(near, door) = MakeDoorPair(loop);
    door->SetCallbacks(
        [this](Frame& frame) {
          Dispatch<Accepted>(
              frame, [this](Accepted& m) { accepted[m.question] = m.result; });
          Dispatch<ChunkStored>(
              frame, [this](ChunkStored& m) { chunks[m.question] = m.result; });
          Dispatch<Lease>(frame, [this](Lease& m) { leases.push_back(m); });
          Dispatch<SmtpState>(frame,
                              [this](SmtpState& m) { states.push_back(m); });
        },
        [this](absl::Status) { closed = true; });
    NewDoor name;
    name.peer = Room::kReceive;
    name.number = number;
    name.worker = id;
    acceptance->Add(name, std::move(near));
  }

  std::unique_ptr<Door> door;
  std::map<uint64_t, AcceptResult> accepted, chunks;
  std::vector<Lease> leases;
  std::vector<SmtpState> states;
  bool closed = false;
};

class AcceptanceTest : public ::testing::Test {
 protected:
  AcceptanceTest() : acceptance_({&loop_, &config_, &seals_}) {
    testing::internal::CaptureStderr();
    config_.actions["out"].name = "out";
    config_.actions["out"].method = ActionMethod::kRelay;
    config_.actions["box"].name = "box";
    config_.actions["box"].method = ActionMethod::kMaildir;
    worker_ = Connect(0, WorkerId(1));
  }
  ~AcceptanceTest() override {
    FlushLog();
    testing::internal::GetCapturedStderr();
  }

  std::unique_ptr<FakeReceive> Connect(uint32_t number, WorkerId id) {
    return std::make_unique<FakeReceive>(&loop_, &acceptance_, number, id);
  }
  void OpenStore() {
    Committer::Hooks hooks;
    hooks.on_lanes = [](const std::vector<LaneChange>&) {};
    hooks.on_reports = [] {};
    hooks.on_deadline = [](absl::Time) {};
    hooks.on_failure = [](const absl::Status&) {};
    store_ = std::make_unique<FakeDiskStore>(&loop_, &disk_);
    committer_ = std::make_unique<Committer>(&loop_, store_.get(), &config_,
                                             std::move(hooks));
    acceptance_.OnStoreOpen(store_.get(), committer_.get());
    loop_.RunReady();
  }
  // Leases ids and gives the first.
  MessageId LeaseOne() {
    LeaseRequest request;
    request.count = 16;
    worker_->door->Send(request);
    loop_.RunReady();
    return worker_->leases.back().first;
  }
  AcceptRequest Request(MessageId id, uint64_t question = 1) {
    AcceptRequest r;
    r.question = question;
    r.message = id;
    r.stored = "body";
    r.body.chunks = 1;
    r.body.raw_bytes = r.body.stored_bytes = 4;
    r.created = loop_.Now();
    Envelope& e = r.envelopes.emplace_back();
    e.id = MakeEnvelopeId(id, 1);
    e.kind = DeliveryKind::kMta;
    e.action = "out";
    e.routing_key = "example.net";
    e.sender = {"alice", "example.com"};
    e.rcpt = e.dest = {"bob", "example.net"};
    e.created = loop_.Now();
    e.expires = e.created + absl::Hours(96);
    return r;
  }
  AcceptResult Ask(const AcceptRequest& r) {
    worker_->door->Send(r);
    loop_.RunReady();
    return worker_->accepted.at(r.question);
  }
  AcceptResult Chunk(MessageId id, uint32_t index, std::string bytes) {
    ChunkRequest r;
    r.question = 100 + index;
    r.message = id;
    r.index = index;
    r.bytes = std::move(bytes);
    worker_->door->Send(r);
    loop_.RunReady();
    return worker_->chunks.at(r.question);
  }

  FakeEventLoop loop_;
  Config config_;
  CommandSeals seals_;
  FakeDisk disk_;
  std::unique_ptr<FakeDiskStore> store_;
  std::unique_ptr<Committer> committer_;
  Acceptance acceptance_;
  std::unique_ptr<FakeReceive> worker_;
};

TEST_F(AcceptanceTest, AnsweredAfterTheCommitAndNotBefore) {
  OpenStore();
  const MessageId id = LeaseOne();
  store_->HoldCommits(true);
  worker_->door->Send(Request(id));
  loop_.RunReady();
  EXPECT_TRUE(worker_->accepted.empty());
  EXPECT_TRUE(disk_.envelopes.empty());
  store_->CommitNow();
  loop_.RunReady();
  EXPECT_EQ(worker_->accepted.at(1), AcceptResult::kOk);
  EXPECT_EQ(disk_.envelopes.size(), 1u);
  // The first deadline came with it: the delay warning.
  EXPECT_EQ(disk_.deadlines.begin()->second, loop_.Now() + absl::Hours(4));
}

TEST_F(AcceptanceTest, WhatComesInOneTurnIsOneCommit) {
  OpenStore();
  const MessageId first = LeaseOne();
  const uint64_t commits = store_->commits();
  for (uint32_t i = 0; i < 10; ++i) {
    worker_->door->Send(
        Request(MessageId(static_cast<uint32_t>(first) + i), 10 + i));
  }
  loop_.RunReady();
  EXPECT_EQ(worker_->accepted.size(), 10u);
  EXPECT_EQ(store_->commits() - commits, 1u);
}

TEST_F(AcceptanceTest, WithoutAStoreAllIs451AndLeasesWait) {
  EXPECT_EQ(Ask(Request(MessageId(5))), AcceptResult::kFailed);
  LeaseRequest request;
  request.count = 16;
  worker_->door->Send(request);
  loop_.RunReady();
  EXPECT_TRUE(worker_->leases.empty());
  OpenStore();
  ASSERT_EQ(worker_->leases.size(), 1u);
  EXPECT_EQ(Ask(Request(worker_->leases[0].first, 2)), AcceptResult::kOk);
}

TEST_F(AcceptanceTest, LeasesOfTwoWorkersDoNotOverlapNorMayBeCrossed) {
  OpenStore();
  const MessageId mine = LeaseOne();
  auto other = Connect(1, WorkerId(2));
  other->door->Send(LeaseRequest{16});
  loop_.RunReady();
  EXPECT_GE(static_cast<uint32_t>(other->leases[0].first),
            static_cast<uint32_t>(mine) + 16);
  other->door->Send(Request(mine));
  loop_.RunReady();
  EXPECT_EQ(other->accepted.at(1), AcceptResult::kFailed);
  EXPECT_TRUE(disk_.envelopes.empty());
}

TEST_F(AcceptanceTest, AnIdIsGoodOnce) {
  OpenStore();
  const MessageId id = LeaseOne();
  EXPECT_EQ(Ask(Request(id, 1)), AcceptResult::kOk);
  EXPECT_EQ(Ask(Request(id, 2)), AcceptResult::kFailed);
  EXPECT_EQ(disk_.ledger.accepted, 1u);
  // Twice in one turn: the first holds.
  const MessageId next = MessageId(static_cast<uint32_t>(id) + 1);
  worker_->door->Send(Request(next, 3));
  worker_->door->Send(Request(next, 4));
  loop_.RunReady();
  EXPECT_EQ(worker_->accepted.at(3), AcceptResult::kOk);
  EXPECT_EQ(worker_->accepted.at(4), AcceptResult::kFailed);
}

// What `receive` must not be able to say.
TEST_F(AcceptanceTest, LiesAreRefused) {
  OpenStore();
  using Lie = std::function<void(AcceptRequest&)>;
  const std::vector<std::pair<const char*, Lie>> lies = {
      {"no envelopes", [](AcceptRequest& r) { r.envelopes.clear(); }},
      {"another message's id",
       [](AcceptRequest& r) {
         r.envelopes[0].id = MakeEnvelopeId(MessageId(1), 1);
       }},
      {"id twice",
       [](AcceptRequest& r) { r.envelopes.push_back(r.envelopes[0]); }},
      {"id zero",
       [](AcceptRequest& r) {
         r.envelopes[0].id = MakeEnvelopeId(r.message, 0);
       }},
      {"unknown action",
       [](AcceptRequest& r) { r.envelopes[0].action = "none"; }},
      {"action of another kind",
       [](AcceptRequest& r) { r.envelopes[0].action = "box"; }},
      {"no such kind",
       [](AcceptRequest& r) { r.envelopes[0].kind = DeliveryKind(7); }},
      {"routing key",
       [](AcceptRequest& r) { r.envelopes[0].routing_key.clear(); }},
      {"long text",
       [](AcceptRequest& r) { r.envelopes[0].helo.assign(1025, 'x'); }},
      {"line feed",
       [](AcceptRequest& r) { r.envelopes[0].dest.user = "a\nb"; }},
      {"NUL",
       [](AcceptRequest& r) {
         r.envelopes[0].dsn_envid = std::string("a\0b", 3);
       }},
      {"stored size", [](AcceptRequest& r) { r.body.stored_bytes = 5; }},
      {"chunks", [](AcceptRequest& r) { r.body.chunks = 2; }},
      {"too large",
       [](AcceptRequest& r) { r.body.raw_bytes = uint64_t{1} << 40; }},
      {"codec", [](AcceptRequest& r) { r.body.codec = BodyCodec(9); }},
      {"from the future",
       [](AcceptRequest& r) { r.envelopes[0].created += absl::Hours(48); }},
      {"from the past",
       [](AcceptRequest& r) { r.envelopes[0].created -= absl::Hours(48); }},
      {"expires before it is created",
       [](AcceptRequest& r) {
         r.envelopes[0].expires = r.envelopes[0].created - absl::Seconds(1);
       }},
      {"never expires",
       [](AcceptRequest& r) {
         r.envelopes[0].expires = absl::InfiniteFuture();
       }},
      {"priority", [](AcceptRequest& r) { r.envelopes[0].priority = 100; }},
      {"held for ever",
       [](AcceptRequest& r) {
         r.envelopes[0].hold_until = absl::InfiniteFuture();
       }},
      {"by when?",
       [](AcceptRequest& r) {
         r.envelopes[0].deliver_by = absl::InfiniteFuture();
       }},
  };
  const MessageId id = LeaseOne();
  uint64_t question = 0;
  for (const auto& [name, lie] : lies) {
    AcceptRequest r = Request(id, ++question);
    lie(r);
    EXPECT_EQ(Ask(r), AcceptResult::kFailed) << name;
  }
  EXPECT_TRUE(disk_.envelopes.empty());
  EXPECT_EQ(Ask(Request(id, ++question)), AcceptResult::kOk)
      << "the truth is believed still";
}

TEST_F(AcceptanceTest, CommandsMustComeFromLookup) {
  OpenStore();
  const MessageId id = LeaseOne();
  AcceptRequest r = Request(id);
  Envelope& e = r.envelopes[0];
  e.kind = DeliveryKind::kMda;
  e.action = "box";
  e.mda_user = e.routing_key = "joe";
  e.mda_exec = "|/bin/evil";
  seals_.AddKey("key");
  EXPECT_EQ(Ask(r), AcceptResult::kFailed);
  EXPECT_TRUE(disk_.envelopes.empty());
  ExpandedRecipient place;
  place.action = "box";
  place.mda_user = "joe";
  place.dest = e.dest;
  place.mda_exec = "|/bin/good";
  e.mda_exec = SealCommand("key", place);
  EXPECT_EQ(Ask(r), AcceptResult::kOk);
  ASSERT_EQ(disk_.envelopes.size(), 1u);
  EXPECT_EQ(disk_.envelopes.begin()->second.mda_exec, "|/bin/good");
}

TEST_F(AcceptanceTest, QueueFieldsAreTheQueues) {
  OpenStore();
  AcceptRequest r = Request(LeaseOne());
  Envelope& e = r.envelopes[0];
  e.flags = 0xffffffff;
  e.retry = 7;
  e.error_line = "x";
  e.last_bounce = absl::InfiniteFuture();
  EXPECT_EQ(Ask(r), AcceptResult::kOk);
  const Envelope& kept = disk_.envelopes.begin()->second;
  EXPECT_EQ(
      kept.flags & ~uint32_t{kFlagRequireTls | kFlagSmtpUtf8 | kFlagBinaryMime |
                             kFlag8BitMime | kFlagDeliverByReturn | kFlagTls},
      uint32_t{kFlagAuthenticated | kFlagInternal | kFlagHeld});
  EXPECT_EQ(kept.retry, 0u);
  EXPECT_EQ(kept.error_line, "");
  EXPECT_EQ(kept.last_bounce, absl::UnixEpoch());
}

TEST_F(AcceptanceTest, LifeCountsFromTheEndOfAHold) {
  OpenStore();
  AcceptRequest r = Request(LeaseOne());
  Envelope& e = r.envelopes[0];
  e.hold_until = e.created + absl::Hours(24);
  EXPECT_EQ(Ask(r), AcceptResult::kOk);
  const Envelope& kept = disk_.envelopes.begin()->second;
  EXPECT_EQ(kept.expires, e.expires + absl::Hours(24));
}

TEST_F(AcceptanceTest, BodiesInPieces) {
  OpenStore();
  const MessageId id = LeaseOne();
  EXPECT_EQ(Chunk(id, 0, "one"), AcceptResult::kOk);
  EXPECT_EQ(Chunk(id, 1, "two!"), AcceptResult::kOk);
  EXPECT_EQ(Chunk(id, 3, "x"), AcceptResult::kFailed) << "out of order";
  EXPECT_EQ(Chunk(MessageId(3), 0, "x"), AcceptResult::kFailed) << "not leased";
  EXPECT_EQ(Chunk(id, 2, std::string(1 << 20, 'x')), AcceptResult::kFailed)
      << "too large";
  AcceptRequest r = Request(id, 1);
  EXPECT_EQ(Ask(r), AcceptResult::kFailed) << "says one chunk";
  r = Request(id, 2);
  r.stored.clear();
  r.body.chunks = 2;
  r.body.stored_bytes = 7;
  EXPECT_EQ(Ask(r), AcceptResult::kOk);
  EXPECT_EQ(disk_.messages.begin()->second.chunks,
            (std::vector<std::string>{"one", "two!"}));
}

TEST_F(AcceptanceTest, DroppedBodiesLeaveNothing) {
  OpenStore();
  const MessageId id = LeaseOne();
  Chunk(id, 0, "one");
  EXPECT_EQ(disk_.incoming.size(), 1u);
  DropBody drop;
  drop.message = id;
  worker_->door->Send(drop);
  loop_.RunReady();
  EXPECT_TRUE(disk_.incoming.empty());
  EXPECT_EQ(Ask(Request(id)), AcceptResult::kFailed) << "the id is used up";
}

TEST_F(AcceptanceTest, AWorkerThatDiesTakesItsBodiesAlong) {
  OpenStore();
  const MessageId id = LeaseOne();
  Chunk(id, 0, "one");
  store_->HoldCommits(true);
  worker_->door->Send(Request(MessageId(static_cast<uint32_t>(id) + 1)));
  loop_.RunReady();
  worker_->door.reset();
  loop_.RunReady();
  store_->HoldCommits(false);
  store_->CommitNow();
  loop_.RunReady();
  EXPECT_TRUE(disk_.incoming.empty());
  EXPECT_EQ(disk_.envelopes.size(), 1u) << "what was asked for is accepted";
}

TEST_F(AcceptanceTest, NoRoomIs452AndAllAreTold) {
  OpenStore();
  auto other = Connect(1, WorkerId(2));
  loop_.RunReady();
  const MessageId id = LeaseOne();
  store_->SetNoRoom(true);
  EXPECT_EQ(Ask(Request(id, 1)), AcceptResult::kNoRoom);
  EXPECT_FALSE(worker_->states.back().room);
  EXPECT_FALSE(other->states.back().room);
  loop_.Advance(absl::Seconds(5));
  EXPECT_FALSE(other->states.back().room);
  EXPECT_EQ(Chunk(id, 0, "x"), AcceptResult::kNoRoom);
  store_->SetNoRoom(false);
  loop_.Advance(absl::Seconds(2));
  EXPECT_TRUE(worker_->states.back().room);
  EXPECT_TRUE(other->states.back().room);
  EXPECT_EQ(other->states.size(), 3u) << "told when it changes, not else";
}

TEST_F(AcceptanceTest, PauseIsToldToAllAndToNewOnes) {
  OpenStore();
  EXPECT_TRUE(acceptance_.SetPaused(true));
  EXPECT_FALSE(acceptance_.SetPaused(true));
  auto other = Connect(1, WorkerId(2));
  loop_.RunReady();
  EXPECT_TRUE(worker_->states.back().paused);
  EXPECT_TRUE(other->states.back().paused);
}

TEST_F(AcceptanceTest, AFloodIsNotRead) {
  OpenStore();
  const MessageId first = LeaseOne();
  store_->HoldCommits(true);
  // 16 bodies in pieces of 64 KiB would be 128 MiB.
  for (uint32_t piece = 0; piece < 128; ++piece) {
    for (uint32_t m = 0; m < 16; ++m) {
      ChunkRequest r;
      r.question = piece * 16 + m;
      r.message = MessageId(static_cast<uint32_t>(first) + m);
      r.index = piece;
      r.bytes.assign(64 << 10, 'x');
      worker_->door->Send(r);
    }
    loop_.RunReady();
  }
  EXPECT_GT(worker_->door->backlog(), size_t{64} << 20)
      << "it waits at the sender";
  store_->HoldCommits(false);
  store_->CommitNow();
  loop_.RunReady();
  EXPECT_EQ(worker_->door->backlog(), 0u);
  EXPECT_EQ(worker_->chunks.size(), 2048u);
  for (const auto& [question, result] : worker_->chunks) {
    EXPECT_EQ(result, AcceptResult::kOk);
  }
}

TEST_F(AcceptanceTest, IdsThatAreNeverUsedAreForgotten) {
  OpenStore();
  const MessageId first = LeaseOne();
  for (size_t i = 0; i < Acceptance::kMaxLeased / Acceptance::kMaxLease + 1;
       ++i) {
    worker_->door->Send(LeaseRequest{1 << 30});
    loop_.RunReady();
    EXPECT_EQ(worker_->leases.back().count, Acceptance::kMaxLease);
  }
  EXPECT_EQ(Ask(Request(first, 1)), AcceptResult::kFailed);
  EXPECT_EQ(Ask(Request(worker_->leases.back().first, 2)), AcceptResult::kOk);
}

TEST_F(AcceptanceTest, SessionsAreSummed) {
  auto other = Connect(1, WorkerId(2));
  SessionCounts counts{3, 5, 1, 0, 3};
  counts.tls = 2;
  counts.refused_connects = 7;
  worker_->door->Send(counts);
  counts = SessionCounts{1, 1, 0, 2, 2};
  counts.tls = 1;
  counts.refused_connects = 10;
  other->door->Send(counts);
  loop_.RunReady();
  EXPECT_EQ(acceptance_.Sessions().tls, 3u);
  EXPECT_EQ(acceptance_.Sessions().refused_connects, 17u);
  EXPECT_EQ(acceptance_.Sessions().now, 4u);
  EXPECT_EQ(acceptance_.Sessions().inet4, 6u);
  other->door.reset();
  loop_.RunReady();
  EXPECT_EQ(acceptance_.Sessions().now, 3u);
  EXPECT_EQ(acceptance_.Sessions().inet4, 6u);
  EXPECT_EQ(acceptance_.Sessions().closed, 6u);
  EXPECT_EQ(acceptance_.Sessions().tls, 2u);
  EXPECT_EQ(acceptance_.Sessions().refused_connects, 17u);
}

TEST_F(AcceptanceTest, AMalformedFrameEndsThatDoor) {
  worker_->door->Send(Accepted{});  // the wrong way round
  loop_.RunReady();
  EXPECT_TRUE(worker_->closed);
}

}  // namespace
}  // namespace holdfast
