// Export, import elsewhere, export: the same manifest; imports repeated.
#include "ctl/store/move_commands.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "ctl/store/archive_mail.h"
#include "ctl/store/exporter.h"
#include "ctl/store/importer.h"
#include "ctl/store/queue_link.h"
#include "ctl/store/scratch_file.h"
#include "storage/store_for_test.h"

namespace holdfast {
namespace {

// Of a body that does not compress and comes in chunks.
std::string Large() {
  std::string body;
  uint64_t random = 7;
  while (body.size() < 200'000) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    absl::StrAppend(&body, absl::Hex(random), "\n");
  }
  return body;
}

void Fill(StoreForTest* store) {
  for (uint32_t i = 1; i <= 20; ++i) {
    AcceptMessage op =
        MakeMessage(MessageId{i}, 1 + i % 3, absl::StrCat("body ", i, "\n"));
    op.envelopes[0].retry = i;
    op.envelopes[0].error_line = "451 \xff not UTF-8";
    if (i % 4 == 0) op.envelopes[0].flags |= kFlagHeld;
    ASSERT_TRUE(store->RunOne(op).status.ok());
  }
  BodyCompressor body;
  std::vector<std::string> chunks = body.Write(Large());
  CompressedBody rest = body.Finish();
  chunks.insert(chunks.end(), rest.chunks.begin(), rest.chunks.end());
  AcceptMessage op = MakeMessage(MessageId{99}, 2, "");
  op.body = rest.info;
  op.stored.clear();
  for (uint32_t i = 0; i < chunks.size(); ++i) {
    StoreChunk chunk;
    chunk.message = op.message;
    chunk.index = i;
    chunk.bytes = chunks[i];
    ASSERT_TRUE(store->RunOne(chunk).status.ok());
  }
  ASSERT_TRUE(store->RunOne(op).status.ok());
}

absl::StatusOr<std::string> Export(StoreForTest* store, int fd) {
  ArchiveWriter archive;
  absl::Status status = archive.Open(fd);
  if (!status.ok()) return status;
  ArchiveTaker taker(&archive);
  ExportReader reader(&taker);
  reader.on_begin = [&](const ExportBegin& begin) {
    return archive.Add(std::string(kAboutName), AboutText(begin), false);
  };
  const auto link = LinkStore(store->store());
  status = link->Export(
      {}, [&](std::string p) { return reader.Take(p); },
      [&] { return reader.ended(); });
  if (status.ok()) status = reader.End();
  if (!status.ok()) return status;
  return archive.Finish(reader.messages(), reader.envelopes());
}

class MoveTest : public testing::Test {
 protected:
  void SetUp() override {
    setenv("TMPDIR", MakeTestFolder().c_str(), 1);
    ASSERT_TRUE(from_.Open().ok());
    ASSERT_TRUE(to_.Open().ok());
    Fill(&from_);
    file_ = *ScratchFile();
    const auto digest = Export(&from_, file_.get());
    ASSERT_TRUE(digest.ok()) << digest.status();
    digest_ = *digest;
  }

  uint64_t Queued(StoreForTest* store) {
    return store->View()->ReadLedger().queued;
  }

  StoreForTest from_, to_;
  OwnedFd file_;
  std::string digest_;
};

TEST_F(MoveTest, ThereAndOutAgainIsTheSame) {
  NoTaker nobody;
  const auto summary = ReadArchive(file_.get(), &nobody);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->manifest_digest, digest_);
  EXPECT_EQ(summary->envelopes, Queued(&from_));

  const auto link = LinkStore(to_.store());
  for (int round = 0; round < 2; ++round) {
    Importer importer(link.get(), {});
    ASSERT_TRUE(ReadArchive(file_.get(), &importer).ok());
    ASSERT_TRUE(importer.Finish().ok());
    EXPECT_EQ(importer.taken(), round == 0 ? summary->envelopes : 0);
    EXPECT_EQ(importer.repeats(), round == 0 ? 0 : summary->envelopes);
    EXPECT_EQ(Queued(&to_), summary->envelopes);
  }
  EXPECT_EQ(to_.Check(), "");
  OwnedFd second = *ScratchFile();
  const auto again = Export(&to_, second.get());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again, digest_);
}

// Lets a number of requests through.
class DyingLink : public QueueLink {
 public:
  DyingLink(QueueStore* store, int requests)
      : link_(LinkStore(store)), left_(requests) {}
  absl::Status Export(const ExportWish&, Sink,
                      absl::FunctionRef<bool()>) override {
    return {};
  }
  absl::StatusOr<uint64_t> EndMove(bool) override { return 0; }
  absl::StatusOr<ImportAnswer> Ask(ImportRequest request) override {
    if (left_-- <= 0) return absl::UnavailableError("dead");
    return link_->Ask(std::move(request));
  }
  absl::Status EndImport() override { return {}; }

 private:
  std::unique_ptr<QueueLink> link_;
  int left_;
};

TEST_F(MoveTest, EndedAnywhereAndRepeatedLosesNothingAndDoublesNothing) {
  for (int requests = 0;; ++requests) {
    StoreForTest store;
    ASSERT_TRUE(store.Open().ok());
    DyingLink dying(store.store(), requests);
    Importer first(&dying, {});
    absl::Status status = ReadArchive(file_.get(), &first).status();
    if (status.ok()) status = first.Finish();
    ASSERT_TRUE(store.Open().ok());  // as after a crash
    const auto link = LinkStore(store.store());
    Importer second(link.get(), {});
    const auto read = ReadArchive(file_.get(), &second);
    ASSERT_TRUE(read.ok()) << read.status() << " after " << requests;
    ASSERT_TRUE(second.Finish().ok());
    EXPECT_EQ(Queued(&store), Queued(&from_)) << requests;
    EXPECT_EQ(store.View()->ReadLedger().accepted, Queued(&from_));
    EXPECT_EQ(store.Check(), "");
    if (status.ok()) break;
  }
}

TEST_F(MoveTest, WhatIsDamagedIsFoundBeforeAnythingIsTaken) {
  const off_t size = lseek(file_.get(), 0, SEEK_END);
  NoTaker nobody;
  for (off_t at = 0; at < size; at += 97) {
    char c = 0;
    ASSERT_EQ(pread(file_.get(), &c, 1, at), 1);
    const char flipped = static_cast<char>(c ^ 4);
    ASSERT_EQ(pwrite(file_.get(), &flipped, 1, at), 1);
    const auto summary = ReadArchive(file_.get(), &nobody);
    EXPECT_TRUE(!summary.ok() || summary->manifest_digest == digest_) << at;
    ASSERT_EQ(pwrite(file_.get(), &c, 1, at), 1);
  }
  for (const off_t cut : {size / 3, size - 200}) {
    ASSERT_EQ(ftruncate(file_.get(), cut), 0);
    EXPECT_FALSE(ReadArchive(file_.get(), &nobody).ok()) << cut;
  }
}

}  // namespace
}  // namespace holdfast
