#include "server/queue/queue_room.h"

#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "server/log/log.h"
#include "server/queue/queue_test_bed.h"

namespace holdfast {
namespace {

using Result = WorkerOutcome::Result;

// The room as RunRoom() would have it; the test is parent and the workers.
class QueueRoomTest : public ::testing::Test {
 protected:
  QueueRoomTest() {
    std::tie(parent_near_, parent_far_) = MakeDoorPair(&bed_.loop);
    parent_far_->SetCallbacks(
        [this](Frame& frame) {
          Dispatch<SetVerbose>(
              frame, [this](SetVerbose& m) { verbose_.push_back(m.verbose); });
        },
        [](absl::Status) {});
    bed_.config.spool = "/nowhere";
  }
  ~QueueRoomTest() override { room_.reset(); }

  std::unique_ptr<QueueRoom> MakeRoom(QueueRoom::StoreOpener open) {
    RoomContext context{
        .loop = &bed_.loop,
        .parent = parent_near_.get(),
        .start = &start_,
        .config = std::make_shared<Config>(bed_.config),
        .fds = {},
        .random = random_,
        .exit = [this](int status) { exits_.push_back(status); },
    };
    return std::make_unique<QueueRoom>(std::move(context), std::move(open));
  }
  QueueRoom::StoreOpener FakeOpener() {
    return [this](StoreOptions options)
               -> absl::StatusOr<std::unique_ptr<QueueStore>> {
      path_ = options.path;
      auto store = std::make_unique<FakeDiskStore>(&bed_.loop, &bed_.disk);
      store_ = store.get();
      return std::unique_ptr<QueueStore>(std::move(store));
    };
  }
  void Boot() {
    room_ = MakeRoom(FakeOpener());
    ASSERT_TRUE(room_->Start().ok());
    ConnectAll();
  }
  void ConnectAll() {
    for (FakeWorker* w : {&relay_, &deliver_}) {
      room_->OnDoor(w->Name(), w->Connect());
    }
    FromParent(Workers{{relay_.id(), deliver_.id()}});
    bed_.Run();
  }
  template <class Message>
  void FromParent(const Message& message) {
    const std::string bytes = Encode(message);
    Frame frame;
    frame.type = Message::kType;
    frame.payload = bytes;
    EXPECT_TRUE(room_->OnParentFrame(frame));
  }
  EnvelopeId Accept(const std::string& domain) {
    Envelope e = bed_.MakeEnvelope(DeliveryKind::kMta, "out", domain);
    AcceptMessage m;
    m.message = MessageOf(e.id);
    m.stored = "body";
    m.body.chunks = 1;
    m.envelopes = {e};
    room_->Commit({m}, nullptr);
    bed_.Run();
    return e.id;
  }

  QueueTestBed bed_;
  std::mt19937_64 random_{1};
  Start start_;
  std::unique_ptr<Door> parent_near_, parent_far_;
  std::vector<int> exits_;
  std::vector<bool> verbose_;
  std::string path_;
  FakeDiskStore* store_ = nullptr;
  FakeWorker relay_{&bed_.loop, Room::kRelay, 0, WorkerId(11)};
  FakeWorker deliver_{&bed_.loop, Room::kDeliver, 0, WorkerId(12)};
  std::unique_ptr<QueueRoom> room_;
};

TEST_F(QueueRoomTest, OpensTheStoreBelowTheSpool) {
  Boot();
  EXPECT_EQ(path_, PathsBelow("/nowhere").store);
  EXPECT_EQ(room_->store(), store_);
}

TEST_F(QueueRoomTest, MailComesAndGoes) {
  Boot();
  const EnvelopeId id = Accept("example.net");
  ASSERT_EQ(relay_.batches.size(), 1u);
  EXPECT_EQ(room_->InFlightSince(id), bed_.loop.Now());
  relay_.Answer(relay_.Take(), Result::kOk, "250 ok");
  bed_.Run();
  EXPECT_EQ(room_->InFlightSince(id), std::nullopt);
  EXPECT_EQ(room_->Counters().ok, 1u);
  EXPECT_EQ(room_->Counters().envelopes_now, 0u);
  EXPECT_TRUE(bed_.LedgerHolds());
}

TEST_F(QueueRoomTest, EnvelopesThatWereThereAreCounted) {
  for (int i = 0; i < 3; ++i) {
    bed_.Preload(bed_.MakeEnvelope(DeliveryKind::kMta, "out", "example.net"));
  }
  start_.paused = {"mta"};
  Boot();
  EXPECT_EQ(room_->Counters().envelopes_now, 3u);
}

TEST_F(QueueRoomTest, ALockedStoreIsWaitedForAndItsHolderNamed) {
  int tries = 0;
  room_ = MakeRoom([&, open = FakeOpener()](StoreOptions options)
                       -> absl::StatusOr<std::unique_ptr<QueueStore>> {
    if (++tries < 4) {
      return absl::UnavailableError("store is locked by process 4711");
    }
    return open(std::move(options));
  });
  bed_.TakeLog();
  ASSERT_TRUE(room_->Start().ok());
  // All may come meanwhile.
  Envelope waiting = bed_.MakeEnvelope(DeliveryKind::kMta, "out", "x.test");
  bed_.Preload(waiting);
  ConnectAll();
  bed_.loop.Advance(absl::Milliseconds(2900));
  EXPECT_EQ(tries, 3);
  EXPECT_EQ(bed_.TakeLog(),
            "warn: queue: store is locked by process 4711; trying again every "
            "second\n");
  bed_.loop.Advance(absl::Milliseconds(200));
  EXPECT_EQ(tries, 4);
  EXPECT_EQ(relay_.batches.size(), 1u);
  EXPECT_TRUE(exits_.empty());
}

TEST_F(QueueRoomTest, AStoreThatCannotBeOpenedIsForGood) {
  const auto broken =
      [](StoreOptions) -> absl::StatusOr<std::unique_ptr<QueueStore>> {
    return absl::DataLossError("both meta pages are bad");
  };
  room_ = MakeRoom(broken);
  EXPECT_EQ(room_->Start().code(), absl::StatusCode::kDataLoss);

  int tries = 0;
  room_ = MakeRoom(
      [&](StoreOptions options) -> absl::StatusOr<std::unique_ptr<QueueStore>> {
        if (++tries == 1) return absl::UnavailableError("locked");
        return broken(std::move(options));
      });
  EXPECT_TRUE(room_->Start().ok());
  bed_.loop.Advance(absl::Seconds(2));
  EXPECT_EQ(exits_, std::vector<int>{1});
}

TEST_F(QueueRoomTest, AFailedSyncEndsTheProcessAndNobodyIsAnswered) {
  Boot();
  store_->FailNextSync();
  bool answered = false;
  room_->Commit({LeaseIds{1}}, [&](BatchResult) { answered = true; });
  room_->Commit({LeaseIds{1}}, [&](BatchResult) { answered = true; });
  bed_.Run();
  EXPECT_EQ(exits_, std::vector<int>{1});
  EXPECT_FALSE(answered);
  EXPECT_TRUE(absl::StrContains(bed_.TakeLog(), "queue: cannot commit: "));
}

TEST_F(QueueRoomTest, StopWaitsForTheWorkersAndRecordsWhatTheySay) {
  Boot();
  const EnvelopeId id = Accept("example.net");
  room_->OnStop(absl::Seconds(30));
  bed_.loop.Advance(absl::Seconds(5));
  EXPECT_TRUE(exits_.empty());
  relay_.Answer(relay_.Take(), Result::kOk, "250 ok");
  bed_.loop.Advance(absl::Seconds(1));
  EXPECT_EQ(exits_, std::vector<int>{0});
  EXPECT_FALSE(bed_.InQueue(id));
}

TEST_F(QueueRoomTest, StopHandsOutNothingNewAndDoesNotWaitForEver) {
  Boot();
  Accept("example.net");
  room_->OnStop(absl::Seconds(20));
  Accept("other.test");
  EXPECT_EQ(relay_.batches.size(), 1u);
  bed_.TakeLog();
  bed_.loop.Advance(absl::Seconds(14));
  EXPECT_TRUE(exits_.empty());
  bed_.loop.Advance(absl::Seconds(2));
  EXPECT_EQ(exits_, std::vector<int>{0});
  EXPECT_TRUE(absl::StrContains(bed_.TakeLog(), "1 envelopes in flight"));
}

TEST_F(QueueRoomTest, StopWithNothingToDoIsQuick) {
  Boot();
  room_->OnStop(absl::Seconds(30));
  bed_.Run();
  EXPECT_EQ(exits_, std::vector<int>{0});
}

TEST_F(QueueRoomTest, MessageIdsOfOurOwn) {
  Boot();
  std::set<MessageId> ids;
  for (int i = 0; i < 200; ++i) {
    room_->TakeMessageId([&](MessageId id) { ids.insert(id); });
  }
  EXPECT_TRUE(ids.empty()) << "in a later turn";
  bed_.Run();
  EXPECT_EQ(ids.size(), 200u);
}

TEST_F(QueueRoomTest, ExpansionWithAndWithoutLookup) {
  Boot();
  std::vector<std::string> refusals;
  const auto ask = [&] {
    room_->Expand(ExpandRequest(),
                  [&](ExpandAnswer a) { refusals.push_back(a.refusal); });
  };
  ask();
  EXPECT_TRUE(refusals.empty()) << "in a later turn";
  bed_.Run();
  EXPECT_EQ(refusals, std::vector<std::string>{"451 Temporary failure"});

  auto [near, far] = MakeDoorPair(&bed_.loop);
  int asked = 0;
  far->SetCallbacks(
      [&, door = far.get()](Frame& frame) {
        Dispatch<ExpandRequest>(frame, [&](ExpandRequest& m) {
          if (++asked == 2) return;  // never answered
          ExpandAnswer answer;
          answer.question = m.question;
          door->Send(answer);
        });
      },
      [](absl::Status) {});
  NewDoor name;
  name.peer = Room::kLookup;
  room_->OnDoor(name, std::move(near));
  ask();
  bed_.Run();
  EXPECT_EQ(refusals.back(), "");
  ask();
  bed_.Run();
  EXPECT_EQ(refusals.size(), 2u);
  far.reset();
  bed_.Run();
  ASSERT_EQ(refusals.size(), 3u);
  EXPECT_EQ(refusals.back(), "451 Temporary failure");
}

TEST_F(QueueRoomTest, PausedFromTheCommandLine) {
  start_.paused = {"mta", "smtp"};
  Boot();
  EXPECT_TRUE(room_->IsPaused(DeliveryKind::kMta));
  EXPECT_FALSE(room_->IsPaused(DeliveryKind::kMda));
  EXPECT_TRUE(room_->IsSmtpPaused());
  Accept("example.net");
  EXPECT_TRUE(relay_.batches.empty());
  EXPECT_TRUE(room_->SetPaused(DeliveryKind::kMta, false));
  bed_.Run();
  EXPECT_EQ(relay_.batches.size(), 1u);
}

TEST_F(QueueRoomTest, VerboseIsParentsToTell) {
  Boot();
  room_->SetVerboseEverywhere(true);
  bed_.Run();
  EXPECT_EQ(verbose_, std::vector<bool>{true});
}

TEST_F(QueueRoomTest, ActsAreCounted) {
  start_.paused = {"mta"};
  Boot();
  const EnvelopeId id = Accept("example.net");
  uint64_t count = 0;
  room_->Act(OperatorAct::kRemove, {id}, [&](uint64_t n) { count = n; });
  bed_.Run();
  EXPECT_EQ(count, 1u);
  EXPECT_EQ(room_->Counters().removed, 1u);
}

// A failure becomes mail to the sender, which goes out by the same room.
TEST_F(QueueRoomTest, AFailureIsReportedToItsSender) {
  Boot();
  auto [near, far] = MakeDoorPair(&bed_.loop);
  far->SetCallbacks(
      [door = far.get()](Frame& frame) {
        Dispatch<ExpandRequest>(frame, [&](ExpandRequest& m) {
          ExpandAnswer answer;
          answer.question = m.question;
          ExpandedRecipient& to = answer.recipients.emplace_back();
          to.kind = DeliveryKind::kMta;
          to.action = "out";
          to.dest = m.rcpt;
          to.routing_key = m.rcpt.domain;
          to.ttl = absl::Hours(96);
          door->Send(answer);
        });
      },
      [](absl::Status) {});
  NewDoor name;
  name.peer = Room::kLookup;
  room_->OnDoor(name, std::move(near));
  Accept("example.net");
  relay_.Answer(relay_.Take(), Result::kPermFail, "550 5.1.1 no");
  bed_.loop.Advance(absl::Seconds(3));
  ASSERT_EQ(relay_.batches.size(), 1u);
  const GotBatch report = relay_.Take();
  EXPECT_EQ(report.where, "example.com");
  EXPECT_TRUE(report.messages[0].sender.IsNull());
  EXPECT_TRUE(bed_.disk.reports.empty()) << "settled";
  EXPECT_EQ(bed_.disk.ledger.reported, 1u);
  EXPECT_TRUE(bed_.LedgerHolds());
  // If that fails too, it ends there.
  relay_.Answer(report, Result::kPermFail, "550 no");
  bed_.loop.Advance(absl::Seconds(3));
  EXPECT_TRUE(relay_.batches.empty());
  EXPECT_EQ(bed_.disk.ledger.silent, 1u);
}

}  // namespace
}  // namespace holdfast
