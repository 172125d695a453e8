// Sealed stores: what is on the disk, which keys open it, and sealing anew,
// wherever it is killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/keys.h"
#include "storage/lmdb_env.h"
#include "storage/lmdb_io.h"
#include "storage/records.h"
#include "storage/store_for_test.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;
using Result = EnvelopeOutcome::Result;

constexpr char kOne[] = "1111111111111111aaaaaaaaaaaaaaaa";
constexpr char kTwo[] = "2222222222222222bbbbbbbbbbbbbbbb";
constexpr int kMessages = 12;

std::string FileBytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << in.rdbuf();
  return bytes.str();
}

// Octets that zstd can't make smaller, with a mark in them.
std::string Body(int m) {
  std::string body = absl::StrCat("Subject: SECRETBODY", m, "\n\n");
  uint32_t x = 12345u + static_cast<uint32_t>(m);
  while (body.size() < size_t(3000 * m + 100)) {
    x = x * 1664525 + 1013904223;
    body.push_back(static_cast<char>(' ' + (x >> 24) % 90));
  }
  return body + "SECRETBODY";
}

MessageId Id(int m) { return MessageId(0x100 + m); }
EnvelopeId Envelope1(int m, uint32_t low) { return MakeEnvelopeId(Id(m), low); }

AcceptMessage Message(int m) {
  AcceptMessage message = MakeMessage(Id(m), 3, Body(m % kMessages));
  for (Envelope& e : message.envelopes) {
    e.sender = {"secretsender", "secret.example"};
    e.rcpt.user = absl::StrCat("secretrcpt", m);
    e.routing_key = absl::StrCat("secretdomain", m, ".example");
  }
  return message;
}

class SealedStore : public StoreForTest {
 public:
  explicit SealedStore(std::string folder = MakeTestFolder())
      : StoreForTest(std::move(folder)) {
    options().history_age = absl::Hours(1);
  }

  absl::Status OpenWith(std::string current, std::string previous = "") {
    options().keys = {std::move(current), std::move(previous)};
    return Open();
  }

  // Something in every table.
  void Fill() {
    for (int m = 0; m < kMessages; ++m)
      ASSERT_TRUE(RunOne(Message(m)).status.ok());
    for (int m = 0; m < 4; ++m) {
      RunOne(ClaimEnvelopes{
          WorkerId{1}, BatchId(1 + m), {Envelope1(m, 1), Envelope1(m, 2)}});
      EnvelopeOutcome failed = MakeOutcome(Envelope1(m, 1), Result::kEnded);
      failed.ending = Ending::kReported;
      failed.report = true;
      failed.error_line = "550 SECRETERROR";
      RecordOutcomes outcomes;
      outcomes.worker = WorkerId{1};
      outcomes.batch = BatchId(1 + m);
      outcomes.outcomes = {failed};
      ASSERT_TRUE(RunOne(outcomes).status.ok());
      ReleaseClaim release;
      release.worker = WorkerId{1};
      release.batch = BatchId(1 + m);
      ASSERT_TRUE(RunOne(release).status.ok());
    }
  }

  // All that can be asked of it.
  std::string Contents() {
    const auto view = View();
    std::string all;
    for (const Envelope& e : view->Envelopes(EnvelopeId{}, 1000)) {
      absl::StrAppend(&all, Encode(e), "\n");
      const auto row = view->FindMessage(MessageOf(e.id));
      if (!row.ok()) return row.status().ToString();
      const auto chunks =
          view->BodyChunks(MessageOf(e.id), 0, row->body.chunks);
      if (!chunks.ok()) return chunks.status().ToString();
      const auto body = ExpandBody(row->body, (*chunks)[0]);
      if (!body.ok()) return body.status().ToString();
      absl::StrAppend(&all, *body, "\n");
    }
    for (const PendingReport& r : view->Reports({}, 1000))
      absl::StrAppend(&all, Encode(r.envelope), "\n");
    for (const DoubtRow& d : view->Doubts(1000))
      absl::StrAppend(&all, d.sender, d.dest, "\n");
    for (const DestinationRow& d : view->Destinations(DestinationId{}, 1000))
      absl::StrAppend(&all, d.routing_key, d.error, "\n");
    for (const HistoryRow& h :
         view->History(EnvelopeId{}, 0, EnvelopeId{~0ull}, 1000))
      absl::StrAppend(&all, Encode(h.envelope), "\n");
    return all;
  }

  // Slices until it is finished; how many.
  int ResealAll(size_t bytes = 8192) {
    for (int slices = 1;; ++slices) {
      const OperationResult result = RunOne(Reseal{bytes});
      EXPECT_TRUE(result.status.ok()) << result.status;
      EXPECT_EQ(result.reseal.damaged, 0u);
      if (!result.status.ok() || result.reseal.finished) return slices;
    }
  }

  // With the store closed: by how many rows each key is used.
  std::map<KeyId, int> KeysInUse() {
    Close();
    std::map<KeyId, int> keys;
    LmdbOptions options;
    options.path = file();
    options.read_only = true;
    auto env = LmdbEnv::Open(options);
    EXPECT_TRUE(env.ok());
    LmdbTxn txn(env->get(), LmdbTxn::kRead);
    for (int i = 0; i < kTableCount; ++i) {
      if (!HoldsSealed(Table(i))) continue;
      for (LmdbCursor row(&txn, Table(i)); row.valid(); row.Next())
        ++keys[KeyIdOf(row.raw_value())];
    }
    return keys;
  }

  uint32_t Schema() {
    Close();
    LmdbOptions options;
    options.path = file();
    options.read_only = true;
    auto env = LmdbEnv::Open(options);
    LmdbTxn txn(env->get(), LmdbTxn::kRead);
    return OpenRow<SchemaRecord>(kSchemaKey, *txn.Get(Table::kMeta, kSchemaKey))
        ->schema;
  }

  // With the store closed, changes rows as somebody would who has no key.
  void Tamper(absl::FunctionRef<void(LmdbTxn*)> change) {
    Close();
    LmdbOptions options;
    options.path = file();
    auto env = LmdbEnv::Open(options);
    ASSERT_TRUE(env.ok());
    LmdbTxn txn(env->get(), LmdbTxn::kWrite);
    change(&txn);
    ASSERT_TRUE(txn.Commit().ok());
  }
};

TEST(QueueSealing, TheFileTellsNothing) {
  SealedStore plain;
  ASSERT_TRUE(plain.OpenWith("").ok());
  plain.Fill();
  const std::string contents = plain.Contents();
  EXPECT_THAT(contents, HasSubstr("SECRETBODY"));
  plain.Close();
  EXPECT_TRUE(absl::StrContains(FileBytes(plain.file()), "SECRETBODY"));
  EXPECT_TRUE(absl::StrContains(FileBytes(plain.file()), "secret"));

  SealedStore store;
  ASSERT_TRUE(store.OpenWith(kOne).ok());
  store.Fill();
  EXPECT_EQ(store.Contents(), contents);
  EXPECT_EQ(store.Check(), "");
  store.Close();
  const std::string bytes = FileBytes(store.file());
  for (const char* mark : {"SECRET", "secret", "1111111111111111"})
    EXPECT_FALSE(absl::StrContains(bytes, mark)) << mark;
  EXPECT_EQ(store.KeysInUse().size(), 1u);
  EXPECT_EQ(store.Schema(), SchemaRecord::kSealedSchema);
  ASSERT_TRUE(store.OpenWith(kOne).ok());
  EXPECT_EQ(store.Contents(), contents);
  EXPECT_EQ(store.Check(), "");
  EXPECT_TRUE(store.RunOne(Reseal{}).reseal.finished);
}

TEST(QueueSealing, OfflineToolsReadIt) {
  SealedStore store;
  ASSERT_TRUE(store.OpenWith(kOne).ok());
  store.Fill();
  const std::string contents = store.Contents();
  store.options().read_only = true;
  ASSERT_TRUE(store.OpenWith(kTwo, kOne).ok());
  EXPECT_EQ(store.Contents(), contents);
  EXPECT_EQ(store.Check(), "");
  EXPECT_EQ(store.OpenWith("").code(), absl::StatusCode::kUnauthenticated);
}

TEST(QueueSealing, AWrongKeyTouchesNothing) {
  SealedStore store;
  ASSERT_TRUE(store.OpenWith(kOne).ok());
  store.Fill();
  store.Close();
  const std::string bytes = FileBytes(store.file());
  const std::string owner = FileBytes(store.folder() + "/owner.lock");
  const auto refused = [&](const std::string& current,
                           const std::string& previous) {
    const absl::Status status = store.OpenWith(current, previous);
    EXPECT_EQ(FileBytes(store.file()), bytes);
    EXPECT_EQ(FileBytes(store.folder() + "/owner.lock"), owner);
    return status;
  };
  const absl::Status none = refused("", "");
  EXPECT_EQ(none.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(std::string(none.message()), HasSubstr("is sealed with key"));
  const absl::Status other = refused(kTwo, "");
  EXPECT_EQ(other.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(std::string(other.message()),
              HasSubstr("which is not the one given"));
  EXPECT_FALSE(absl::StrContains(std::string(other.message()), "2222"));
  EXPECT_FALSE(refused(kTwo, kTwo).ok());
  EXPECT_FALSE(refused("", kTwo).ok());
  ASSERT_TRUE(store.OpenWith(kOne).ok());
  EXPECT_EQ(store.Check(), "");
}

TEST(QueueSealing, APlainStoreIsSealed) {
  SealedStore store;
  ASSERT_TRUE(store.OpenWith("").ok());
  store.Fill();
  const std::string contents = store.Contents();
  EXPECT_EQ(store.Schema(), SchemaRecord::kCurrentSchema);
  ASSERT_TRUE(store.OpenWith(kOne).ok());
  EXPECT_EQ(store.Contents(), contents);
  ASSERT_TRUE(store.RunOne(Message(kMessages)).status.ok());
  const std::string more = store.Contents();
  // From now on not without the key.
  EXPECT_FALSE(store.OpenWith("").ok());
  EXPECT_EQ(store.KeysInUse().size(), 2u);
  ASSERT_TRUE(store.OpenWith(kOne).ok());
  EXPECT_GT(store.ResealAll(), 3);
  EXPECT_EQ(store.Contents(), more);
  EXPECT_EQ(store.Check(), "");
  const auto keys = store.KeysInUse();
  EXPECT_EQ(keys.size(), 1u);
  EXPECT_EQ(keys.count(0), 0u);
  ASSERT_TRUE(store.OpenWith(kOne).ok());
  EXPECT_EQ(store.Contents(), more);
}

TEST(QueueSealing, AnotherKey) {
  SealedStore store;
  ASSERT_TRUE(store.OpenWith(kOne).ok());
  store.Fill();
  const std::string contents = store.Contents();
  ASSERT_TRUE(store.OpenWith(kTwo, kOne).ok());
  EXPECT_EQ(store.Contents(), contents);
  // In the middle: both are needed, in either order.
  EXPECT_FALSE(store.RunOne(Reseal{4096}).reseal.finished);
  EXPECT_FALSE(store.OpenWith(kTwo).ok());
  EXPECT_FALSE(store.OpenWith(kOne).ok());
  ASSERT_TRUE(store.OpenWith(kOne, kTwo).ok());
  EXPECT_EQ(store.Contents(), contents);
  ASSERT_TRUE(store.OpenWith(kTwo, kOne).ok());
  store.ResealAll();
  EXPECT_EQ(store.Contents(), contents);
  // The former is of no use any more.
  EXPECT_FALSE(store.OpenWith(kOne).ok());
  EXPECT_EQ(store.KeysInUse().size(), 1u);
  ASSERT_TRUE(store.OpenWith(kTwo).ok());
  EXPECT_EQ(store.Contents(), contents);
  EXPECT_EQ(store.Check(), "");
}

TEST(QueueSealing, MailFlowsMeanwhile) {
  SealedStore store;
  ASSERT_TRUE(store.OpenWith(kOne).ok());
  store.Fill();
  ASSERT_TRUE(store.OpenWith(kTwo, kOne).ok());
  bool finished = false;
  for (int m = kMessages; !finished; ++m) {
    const OperationResult result = store.RunOne(Reseal{4096});
    ASSERT_TRUE(result.status.ok());
    finished = result.reseal.finished;
    ASSERT_TRUE(store.RunOne(Message(m)).status.ok());
    ActOnEnvelope hold;
    hold.envelope = Envelope1(m - 5, 3);
    hold.act = ActOnEnvelope::Act::kHold;
    store.RunOne(hold);
    ActOnEnvelope remove = hold;
    remove.envelope = Envelope1(m - 3, 2);
    remove.act = ActOnEnvelope::Act::kRemove;
    store.RunOne(remove);
  }
  const std::string contents = store.Contents();
  EXPECT_EQ(store.Check(), "");
  EXPECT_EQ(store.KeysInUse().size(), 1u);
  ASSERT_TRUE(store.OpenWith(kTwo).ok());
  EXPECT_EQ(store.Contents(), contents);
}

TEST(QueueSealing, SealedNoMore) {
  SealedStore store;
  ASSERT_TRUE(store.OpenWith(kOne).ok());
  store.Fill();
  const std::string contents = store.Contents();
  ASSERT_TRUE(store.OpenWith("", kOne).ok());
  EXPECT_EQ(store.Contents(), contents);
  EXPECT_FALSE(store.RunOne(Reseal{4096}).reseal.finished);
  EXPECT_FALSE(store.OpenWith("").ok());
  ASSERT_TRUE(store.OpenWith("", kOne).ok());
  store.ResealAll();
  EXPECT_EQ(store.Contents(), contents);
  const auto keys = store.KeysInUse();
  EXPECT_EQ(keys.size(), 1u);
  EXPECT_EQ(keys.count(0), 1u);
  EXPECT_EQ(store.Schema(), SchemaRecord::kCurrentSchema);
  ASSERT_TRUE(store.OpenWith("").ok());
  EXPECT_EQ(store.Contents(), contents);
  EXPECT_EQ(store.Check(), "");
}

// ---- Somebody else's changes

TEST(QueueSealing, ChangedRowsAreDamage) {
  SealedStore store;
  ASSERT_TRUE(store.OpenWith(kOne).ok());
  store.Fill();
  const Key first = EnvelopeKey(Envelope1(5, 1));
  const Key second = EnvelopeKey(Envelope1(6, 1));
  store.Tamper([&](LmdbTxn* txn) {
    const std::string one(*txn->GetRaw(Table::kEnvelopes, first));
    const std::string two(*txn->GetRaw(Table::kEnvelopes, second));
    txn->Put(Table::kEnvelopes, first, two);
    txn->Put(Table::kEnvelopes, second, one);
    const Key body = BodyKey(Id(7), 0, 0);
    std::string piece(*txn->GetRaw(Table::kBodies, body));
    piece[piece.size() / 2] ^= 1;
    txn->Put(Table::kBodies, body, piece);
  });
  ASSERT_TRUE(store.OpenWith(kOne).ok());
  const auto view = store.View();
  for (const EnvelopeId id : {Envelope1(5, 1), Envelope1(6, 1)})
    EXPECT_EQ(view->FindEnvelope(id).status().code(),
              absl::StatusCode::kDataLoss);
  EXPECT_FALSE(view->BodyChunks(Id(7), 0, 1).ok());
  EXPECT_TRUE(view->FindEnvelope(Envelope1(8, 1)).ok());
}

// Where all is sealed, a row that is not has been put there.
TEST(QueueSealing, PlainRowsAreNotBelieved) {
  SealedStore plain;
  ASSERT_TRUE(plain.OpenWith("").ok());
  plain.Fill();
  const Key key = EnvelopeKey(Envelope1(5, 1));
  std::string row;
  plain.Tamper([&](LmdbTxn* txn) {
    row = std::string(*txn->GetRaw(Table::kEnvelopes, key));
  });
  SealedStore store;
  ASSERT_TRUE(store.OpenWith(kOne).ok());
  store.Fill();
  store.Tamper([&](LmdbTxn* txn) { txn->Put(Table::kEnvelopes, key, row); });
  ASSERT_TRUE(store.OpenWith(kOne).ok());
  EXPECT_EQ(store.View()->FindEnvelope(Envelope1(5, 1)).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST(QueueSealing, TheRecordOfKeysIsVouchedFor) {
  SealedStore store;
  ASSERT_TRUE(store.OpenWith(kOne).ok());
  store.Fill();
  store.Tamper([&](LmdbTxn* txn) {
    auto record = OpenRow<SealingRecord>(kSealingKey,
                                         *txn->Get(Table::kMeta, kSealingKey));
    record->plain = true;
    txn->Put(Table::kMeta, kSealingKey, SealRow(kSealingKey, *record));
  });
  EXPECT_EQ(store.OpenWith(kOne).code(), absl::StatusCode::kDataLoss);
  // One that has no key that could vouch for it.
  store.Tamper([&](LmdbTxn* txn) {
    auto record = OpenRow<SealingRecord>(kSealingKey,
                                         *txn->Get(Table::kMeta, kSealingKey));
    record->keys.clear();
    txn->Put(Table::kMeta, kSealingKey, SealRow(kSealingKey, *record));
  });
  EXPECT_EQ(store.OpenWith(kOne).code(), absl::StatusCode::kDataLoss);
  store.Tamper([&](LmdbTxn* txn) { txn->Delete(Table::kMeta, kSealingKey); });
  EXPECT_EQ(store.OpenWith(kOne).code(), absl::StatusCode::kDataLoss);
}

// ---- Killed

int calls_left = 0;
IoFault KillAtLast(IoCall, size_t) {
  if (calls_left > 0 && --calls_left == 0) _exit(0);
  return {};
}

TEST(QueueSealing, KilledAtEveryCallWhileSealedAnew) {
  const std::string filled = MakeTestFolder();
  std::string contents;
  {
    SealedStore store(filled);
    ASSERT_TRUE(store.OpenWith(kOne).ok());
    store.Fill();
    contents = store.Contents();
  }
  bool untouched = false;
  int kills = 0;
  for (int nth = 1; !untouched && !HasFailure(); ++nth) {
    SCOPED_TRACE(nth);
    const std::string folder = MakeTestFolder();
    for (const char* name : {"queue.mdb", "owner.lock"})
      std::filesystem::copy(absl::StrCat(filled, "/", name),
                            absl::StrCat(folder, "/", name));
    const pid_t child = fork();
    if (child == 0) {
      calls_left = nth;
      SetIoHookForTest(&KillAtLast);
      SealedStore store(folder);
      if (!store.OpenWith(kTwo, kOne).ok()) _exit(3);
      while (!store.RunOne(Reseal{16384}).reseal.finished) {
      }
      _exit(1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFEXITED(status));
    ASSERT_NE(WEXITSTATUS(status), 3);
    untouched = WEXITSTATUS(status) == 1;
    kills += !untouched;
    SealedStore store(folder);
    ASSERT_TRUE(store.OpenWith(kTwo, kOne).ok());
    EXPECT_EQ(store.Contents(), contents);
    store.ResealAll();
    EXPECT_EQ(store.Contents(), contents);
    EXPECT_EQ(store.KeysInUse().size(), 1u);
    ASSERT_TRUE(store.OpenWith(kTwo).ok());
    EXPECT_EQ(store.Contents(), contents);
    EXPECT_EQ(store.Check(), "");
  }
  EXPECT_GT(kills, 20);
}

}  // namespace
}  // namespace holdfast
