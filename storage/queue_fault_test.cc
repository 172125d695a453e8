// Promises P1, P3 and P5: what was acknowledged is there, and the queue is
// sound, whatever write or sync fails and wherever the process is killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "storage/lmdb_io.h"
#include "storage/store_for_test.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;
using Result = EnvelopeOutcome::Result;

constexpr int kMessages = 8;

// With history: what is not mail is written in the same transactions.
class KeepingStore : public StoreForTest {
 public:
  explicit KeepingStore(std::string folder = MakeTestFolder())
      : StoreForTest(std::move(folder)) {
    options().history_age = absl::Hours(1);
  }
  // Where nothing failed for want of room: each that ended is there.
  bool HistoryIsWhole() {
    const auto view = View();
    const Ledger ledger = view->ReadLedger();
    return view->Stats().history == ledger.accepted - ledger.queued;
  }
};

// ---- A script of batches, each of which is known by its number.

// Accepts kMessages messages, then claims, retries, delivers, reports, removes;
// every batch changes something that can be seen.
QueueBatch Script(int step) {
  const auto id = [](int m) { return MessageId(0x100 + m); };
  const auto envelope = [&](int m, uint32_t low) {
    return MakeEnvelopeId(id(m), low);
  };
  const int m = step % kMessages;
  switch (step / kMessages) {
    case 0:
      return {MakeMessage(id(m), 3, std::string(3000 * (m + 1), 'b'))};
    case 1:
      return {ClaimEnvelopes{
          WorkerId{1}, BatchId(1 + m), {envelope(m, 1), envelope(m, 2)}}};
    case 2: {
      EnvelopeOutcome retry = MakeOutcome(envelope(m, 1), Result::kRetry);
      retry.due = absl::FromUnixSeconds(kTestNow + 100 + m);
      retry.attempt.emplace().answer = "451 4.7.1 later";
      EnvelopeOutcome failed = MakeOutcome(envelope(m, 2), Result::kEnded);
      failed.ending = Ending::kReported;
      failed.report = true;
      failed.attempt.emplace().answer = "550 5.1.1 no such user";
      return {RecordOutcomes{WorkerId{1}, BatchId(1 + m), {retry, failed}}};
    }
    case 3: {
      AcceptMessage report = MakeMessage(MessageId(0x200 + m), 1, "report");
      report.settles = {{envelope(m, 2), ReportKind::kFailed}};
      return {report};
    }
    case 4: {
      ActOnEnvelope remove;
      remove.envelope = envelope(m, 1);
      remove.act = ActOnEnvelope::Act::kRemove;
      ActOnEnvelope last = remove;
      last.envelope = envelope(m, 3);
      return {remove, last};
    }
  }
  return {};
}
constexpr int kSteps = 5 * kMessages;

// How far the queue came: the number of steps whose effect is there.  Fails if
// they are not the first ones (each step is one batch, submitted in order).
int StepsDone(const QueueView& view) {
  std::vector<bool> done(kSteps);
  for (int m = 0; m < kMessages; ++m) {
    const MessageId id = MessageId(0x100 + m);
    const bool reported = view.FindMessage(MessageId(0x200 + m)).ok();
    const bool three = view.FindEnvelope(MakeEnvelopeId(id, 3)).ok();
    const bool two = view.FindEnvelope(MakeEnvelopeId(id, 2)).ok();
    const auto one = view.FindEnvelope(MakeEnvelopeId(id, 1));
    const bool removed = reported && !three;
    done[m] = three || removed;
    done[2 * kMessages + m] = removed || (one.ok() && one->retry == 1);
    done[kMessages + m] =
        done[2 * kMessages + m] || view.IsClaimed(MakeEnvelopeId(id, 1));
    done[3 * kMessages + m] = reported;
    done[4 * kMessages + m] = removed;
    // All or nothing.
    EXPECT_EQ(one.ok(), three);
    EXPECT_EQ(two, done[m] && !done[2 * kMessages + m]);
  }
  int steps = 0;
  while (steps < kSteps && done[steps]) ++steps;
  for (int i = steps; i < kSteps; ++i) EXPECT_FALSE(done[i]) << i;
  return steps;
}

// Runs the script from `first`; the number of steps acknowledged.
int RunScript(KeepingStore* store, int first = 0) {
  for (int step = first; step < kSteps; ++step) {
    const BatchResult result = store->Run(Script(step));
    if (!result.status.ok()) return step;
    for (const OperationResult& operation : result.operations)
      if (!operation.status.ok()) return step;
  }
  return kSteps;
}

// ---- Faults

struct FaultPlan {
  std::atomic<int> countdown{0};     // the call that fails; 0: none
  std::atomic<bool> lasting{false};  // and all of its kind after it
  std::atomic<bool> only_kind{false};
  std::atomic<IoCall> kind{IoCall::kWrite};
  std::atomic<int> error{0};
  std::atomic<bool> kill{false};
};
FaultPlan plan;

IoFault PlannedFault(IoCall call, size_t bytes) {
  if (plan.only_kind && call != plan.kind) return {};
  if (plan.countdown <= 0) return {};
  if (--plan.countdown > 0) return {};
  if (plan.kill) _exit(0);
  if (plan.lasting) plan.countdown = 1;
  IoFault fault;
  fault.pass = false;
  fault.error = plan.error;
  if (call == IoCall::kSync && fault.error == 0) fault.error = EIO;
  if (fault.error == 0) fault.short_by = std::min<size_t>(bytes, 100);
  return fault;
}

class QueueFaultTest : public testing::Test {
 protected:
  void SetUp() override { SetIoHookForTest(&PlannedFault); }
  void TearDown() override {
    Heal();
    SetIoHookForTest(nullptr);
  }

  void Fail(IoCall kind, int error, int nth = 1, bool lasting = true) {
    plan.only_kind = true;
    plan.kind = kind;
    plan.error = error;
    plan.lasting = lasting;
    plan.kill = false;
    plan.countdown = nth;
  }
  void Heal() {
    plan.countdown = 0;
    plan.only_kind = false;
    plan.lasting = false;
    plan.kill = false;
    plan.error = 0;
  }
};

TEST_F(QueueFaultTest, CallsAreSeen) {
  KeepingStore store;
  ASSERT_TRUE(store.Open().ok());
  static std::atomic<int> calls[3];
  SetIoHookForTest([](IoCall call, size_t) {
    ++calls[static_cast<int>(call)];
    return IoFault{};
  });
  ASSERT_TRUE(store.RunOne(MakeMessage(MessageId{1}, 1, "a")).status.ok());
  SetIoHookForTest(nullptr);
  EXPECT_GT(calls[static_cast<int>(IoCall::kWrite)], 0);
  EXPECT_EQ(calls[static_cast<int>(IoCall::kMetaWrite)], 1);
  EXPECT_GT(calls[static_cast<int>(IoCall::kSync)], 0);
}

TEST_F(QueueFaultTest, AFullDiskRefusesAndRecoversWithoutARestart) {
  for (const int error : {ENOSPC, EDQUOT, 0 /* short write */}) {
    SCOPED_TRACE(error);
    KeepingStore store;
    ASSERT_TRUE(store.Open().ok());
    ASSERT_EQ(RunScript(&store), kSteps);
    ASSERT_TRUE(store.RunOne(MakeMessage(MessageId{1}, 2, "a")).status.ok());
    Fail(IoCall::kWrite, error);
    const BatchResult full = store.Run({MakeMessage(MessageId{2}, 1, "b")});
    EXPECT_TRUE(full.status.ok());
    EXPECT_EQ(full.operations[0].status.code(),
              absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(store.RunOne(StoreChunk{MessageId{3}, 1, 0, "c"}).status.code(),
              absl::StatusCode::kResourceExhausted);
    Heal();
    EXPECT_EQ(store.Check(), "");
    EXPECT_EQ(store.View()->Stats().messages, 1u + kMessages);
    EXPECT_TRUE(store.RunOne(MakeMessage(MessageId{2}, 1, "b")).status.ok());
    EXPECT_EQ(store.Check(), "");
  }
}

TEST_F(QueueFaultTest, AFullDiskDoesNotPreventAStart) {
  KeepingStore store;
  ASSERT_TRUE(store.Open().ok());
  ASSERT_TRUE(store.RunOne(MakeMessage(MessageId{1}, 2, "a")).status.ok());
  store.Close();
  Fail(IoCall::kWrite, ENOSPC);
  ASSERT_TRUE(store.Open().ok());
  EXPECT_EQ(store.store()->start_number(), 2u);
  EXPECT_TRUE(store.View()->FindMessage(MessageId{1}).ok());
  Heal();
  EXPECT_TRUE(store.RunOne(MakeMessage(MessageId{2}, 1, "b")).status.ok());
  store.Close();
  ASSERT_TRUE(store.Open().ok());
  EXPECT_EQ(store.store()->start_number(), 3u);
}

TEST_F(QueueFaultTest, NeighboursOfWhatDoesNotFitGoOn) {
  KeepingStore store;
  ASSERT_TRUE(store.Open().ok());
  ASSERT_TRUE(store.RunOne(MakeMessage(MessageId{1}, 2, "a")).status.ok());
  // The first attempt fails, the second one is without the acceptance.
  Fail(IoCall::kWrite, ENOSPC, 1, /*lasting=*/false);
  const EnvelopeId id = MakeEnvelopeId(MessageId{1}, 1);
  const BatchResult result =
      store.Run({MakeMessage(MessageId{2}, 1, "b"),
                 ClaimEnvelopes{WorkerId{1}, BatchId{1}, {id}}});
  EXPECT_EQ(result.operations[0].status.code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(result.operations[1].status.ok());
  EXPECT_TRUE(store.View()->IsClaimed(id));
  EXPECT_EQ(store.Check(), "");
}

TEST_F(QueueFaultTest, AFailedSyncIsFinal) {
  const std::pair<IoCall, int> kFaults[] = {{IoCall::kSync, EIO},
                                            {IoCall::kSync, ENOSPC},
                                            {IoCall::kMetaWrite, EIO},
                                            {IoCall::kMetaWrite, ENOSPC},
                                            {IoCall::kWrite, EIO}};
  for (const auto& [call, error] : kFaults) {
    SCOPED_TRACE(absl::StrCat(static_cast<int>(call), " ", error));
    KeepingStore store;
    ASSERT_TRUE(store.Open().ok());
    ASSERT_TRUE(store.RunOne(MakeMessage(MessageId{1}, 1, "a")).status.ok());
    Fail(call, error, 1, /*lasting=*/false);
    const BatchResult failed = store.Run({MakeMessage(MessageId{2}, 1, "b")});
    EXPECT_EQ(failed.status.code(), absl::StatusCode::kAborted);
    Heal();
    // Nothing is tried again in this process.
    EXPECT_EQ(store.Run({LeaseIds{1}}).status.code(),
              absl::StatusCode::kAborted);
    store.store()->Drain();
    store.Close();
    ASSERT_TRUE(store.Open().ok());
    EXPECT_EQ(store.Check(), "");
    EXPECT_TRUE(store.View()->FindMessage(MessageId{1}).ok());
    EXPECT_TRUE(store.RunOne(MakeMessage(MessageId{3}, 1, "c")).status.ok());
  }
}

// The trick of SQLite's tests: fail the first call, the second, ... until a run
// passes untouched.
TEST_F(QueueFaultTest, EveryCallMayFail) {
  for (const int error : {EIO, ENOSPC, 0}) {
    bool untouched = false;
    for (int nth = 1; !untouched && !HasFailure(); nth += 3) {
      SCOPED_TRACE(absl::StrCat("error ", error, ", call ", nth));
      KeepingStore store;
      ASSERT_TRUE(store.Open().ok());
      Heal();
      plan.error = error;
      plan.countdown = nth;
      const int acknowledged = RunScript(&store);
      untouched = plan.countdown > 0;
      Heal();
      store.Close();
      ASSERT_TRUE(store.Open().ok());
      EXPECT_EQ(store.Check(), "");
      const int done = StepsDone(*store.View());
      EXPECT_GE(done, acknowledged);
      EXPECT_LE(done, acknowledged + 1);
      // And it goes on from there.
      EXPECT_EQ(RunScript(&store, done), kSteps);
    }
  }
}

TEST_F(QueueFaultTest, ANewStoreIsMadeWholeOrNotAtAll) {
  for (int nth = 1;; ++nth) {
    SCOPED_TRACE(nth);
    KeepingStore store;
    Heal();
    plan.error = EIO;
    plan.countdown = nth;
    const bool opened = store.Open().ok();
    const bool untouched = plan.countdown > 0;
    Heal();
    store.Close();
    ASSERT_TRUE(store.Open().ok()) << opened;
    EXPECT_EQ(store.Check(), "");
    if (untouched) break;
    ASSERT_LT(nth, 1000);
  }
}

// ---- Killed

// Runs `work` in a child; what it wrote to the pipe before it ended.
template <class Work>
int CountFromChild(Work work) {
  int pipe_ends[2];
  EXPECT_EQ(pipe(pipe_ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(pipe_ends[0]);
    work(pipe_ends[1]);
    _exit(1);
  }
  close(pipe_ends[1]);
  int acknowledged = 0;
  char byte;
  while (read(pipe_ends[0], &byte, 1) == 1) ++acknowledged;
  close(pipe_ends[0]);
  int status;
  waitpid(child, &status, 0);
  return acknowledged;
}

void Acknowledge(int fd) {
  if (write(fd, "x", 1) != 1) _exit(2);
}

TEST_F(QueueFaultTest, KilledAtEveryCall) {
  bool untouched = false;
  for (int nth = 1; !untouched && !HasFailure(); ++nth) {
    SCOPED_TRACE(nth);
    const std::string folder = MakeTestFolder();
    const int acknowledged = CountFromChild([&](int fd) {
      Heal();
      plan.kill = true;
      plan.countdown = nth;
      KeepingStore store(folder);
      if (!store.Open().ok()) _exit(3);
      for (int step = 0; step < kSteps; ++step) {
        if (!store.Run(Script(step)).status.ok()) _exit(4);
        Acknowledge(fd);
      }
    });
    untouched = acknowledged == kSteps;
    Heal();
    KeepingStore store(folder);
    ASSERT_TRUE(store.Open().ok());
    EXPECT_EQ(store.Check(), "");
    EXPECT_TRUE(store.HistoryIsWhole());
    const int done = StepsDone(*store.View());
    EXPECT_GE(done, acknowledged);
    EXPECT_LE(done, acknowledged + 1);
    EXPECT_EQ(RunScript(&store, done), kSteps);
  }
}

TEST_F(QueueFaultTest, KilledUnderLoad) {
  for (int round = 0; round < 10 && !HasFailure(); ++round) {
    SCOPED_TRACE(round);
    const std::string folder = MakeTestFolder();
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    const pid_t child = fork();
    if (child == 0) {
      close(pipe_ends[0]);
      KeepingStore store(folder);
      if (!store.Open().ok()) _exit(3);
      for (uint32_t i = 1;; ++i) {
        QueueBatch batch;
        batch.push_back(MakeMessage(MessageId{i}, 2, "hello"));
        store.store()->Submit(std::move(batch), [&](BatchResult result) {
          if (result.operations[0].status.ok()) Acknowledge(pipe_ends[1]);
        });
        if (i % 100 == 0) store.store()->Drain();
      }
    }
    close(pipe_ends[1]);
    // Kills it after so many acknowledgements, wherever it is then.
    const int wanted = 37 * (round + 1);
    int acknowledged = 0;
    char byte;
    while (acknowledged < wanted && read(pipe_ends[0], &byte, 1) == 1)
      ++acknowledged;
    kill(child, SIGKILL);
    while (read(pipe_ends[0], &byte, 1) == 1) ++acknowledged;
    close(pipe_ends[0]);
    int status;
    waitpid(child, &status, 0);
    KeepingStore store(folder);
    ASSERT_TRUE(store.Open().ok());
    EXPECT_EQ(store.Check(), "");
    EXPECT_GE(store.View()->Stats().messages, uint64_t(acknowledged));
    for (int i = 1; i <= acknowledged; ++i)
      EXPECT_TRUE(store.View()->FindMessage(MessageId(i)).ok()) << i;
  }
}

}  // namespace
}  // namespace holdfast
