// Spools as folders: what is taken, what is left out, and that a message is
// the same whenever it is read.
#include "ctl/spool/spool_reader.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "storage/owned_fd.h"

namespace holdfast {
namespace {

constexpr absl::string_view kEnvelope =
    "version: 3\ndispatcher: out\ntype: mta\nsmtpname: mx.example\n"
    "helo: client.example\nhostname: localhost\nsockaddr: 127.0.0.1\n"
    "sender: alice@from.example\nrcpt: bob@One.Example\ndest: bob@One.Example\n"
    "ctime: 1795396589\nretry: 0\n";

struct Taken {
  ExportMessage message;
  std::vector<ExportEnvelope> envelopes;
  std::string body;
  bool ended = false;
};

class Collector : public MailTaker {
 public:
  absl::Status Message(const ExportMessage& m) override {
    all.push_back({m, {}, "", false});
    return {};
  }
  absl::Status Envelope(const ExportEnvelope& e) override {
    all.back().envelopes.push_back(e);
    return {};
  }
  absl::Status Body(absl::string_view bytes) override {
    absl::StrAppend(&all.back().body, bytes);
    return {};
  }
  absl::Status EndMessage() override {
    all.back().ended = true;
    return {};
  }

  std::vector<Taken> all;
};

class SpoolReaderTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/spool.XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& name, absl::string_view text,
             mode_t mode = 0600) {
    const std::filesystem::path path = folder_ + "/" + name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
    chmod(path.c_str(), mode);
  }

  SpoolOptions Options() {
    SpoolOptions options;
    options.folder = folder_;
    options.ttl = absl::Hours(24);
    options.hostname = "here.example";
    options.now = absl::FromUnixSeconds(1795400000);
    options.say = [this](absl::string_view line) { said_.emplace_back(line); };
    return options;
  }

  SpoolSummary Read(bool postfix, SpoolOptions options) {
    said_.clear();
    taken_.all.clear();
    const auto reader = postfix
                            ? ReadPostfixSpool(std::move(options), &taken_)
                            : ReadOpensmtpdSpool(std::move(options), &taken_);
    status_ = reader->Run();
    return reader->summary();
  }

  std::string folder_;
  std::vector<std::string> said_;
  Collector taken_;
  absl::Status status_;
};

TEST_F(SpoolReaderTest, OpensmtpdMessageWithTwoEnvelopes) {
  Write("queue/1d/1d2d3bcc/message", "Subject: x\n\nhello\n");
  Write("queue/1d/1d2d3bcc/1d2d3bcc4cc9717c", kEnvelope);
  Write("queue/1d/1d2d3bcc/1d2d3bccb7713bf6", kEnvelope);
  Write("queue/1d/1d2d3bcc/envelope.tmp", "half");
  const SpoolSummary summary = Read(false, Options());
  ASSERT_TRUE(status_.ok()) << status_;
  EXPECT_EQ(summary.messages, 1u);
  EXPECT_EQ(summary.envelopes, 2u);
  EXPECT_EQ(summary.left_out, 0u);
  ASSERT_EQ(taken_.all.size(), 1u);
  const Taken& taken = taken_.all[0];
  EXPECT_TRUE(taken.ended);
  EXPECT_EQ(taken.body, "Subject: x\n\nhello\n");
  EXPECT_EQ(taken.message.body.raw_bytes, taken.body.size());
  ASSERT_EQ(taken.envelopes.size(), 2u);
  const Envelope& e = taken.envelopes[0].envelope;
  EXPECT_EQ(e.id, MakeEnvelopeId(taken.message.id, 0x4cc9717c));
  EXPECT_EQ(e.routing_key, "one.example");
  EXPECT_EQ(e.action, "out");
  EXPECT_EQ(e.expires, e.created + absl::Hours(24));

  // Read again, when one has gone: the same message.
  const uint64_t serial = taken.message.origin_serial;
  unlink((folder_ + "/queue/1d/1d2d3bcc/1d2d3bcc4cc9717c").c_str());
  SpoolOptions options = Options();
  options.action = "other";
  Read(false, std::move(options));
  ASSERT_EQ(taken_.all.size(), 1u);
  EXPECT_EQ(taken_.all[0].message.origin_serial, serial);
  EXPECT_EQ(taken_.all[0].envelopes[0].envelope.action, "other");
}

TEST_F(SpoolReaderTest, WhatCantBeReadIsToldAndTheRestIsTaken) {
  Write("queue/01/01000000/message", "Subject: sound\n");
  Write("queue/01/01000000/0100000000000001", kEnvelope);
  Write("queue/01/01000000/0100000000000002", "nonsense");
  Write("queue/02/02000000/0200000000000001", kEnvelope);  // no body
  Write("queue/03/03000000/message", "\x01sealed");
  Write("queue/03/03000000/0300000000000001", kEnvelope);
  Write("queue/04/04000000/message", "x\n");
  ASSERT_EQ(symlink("/etc/passwd",
                    (folder_ + "/queue/04/04000000/0400000000000001").c_str()),
            0);
  Write("queue/05/05000000/message", "x\n");
  Write("queue/05/05000000/0500000000000001",
        absl::StrCat(kEnvelope, "errorline: ", std::string(5000, 'x'), "\n"));
  const SpoolSummary summary = Read(false, Options());
  ASSERT_TRUE(status_.ok()) << status_;
  EXPECT_EQ(summary.messages, 1u);
  EXPECT_EQ(summary.left_out, 5u) << absl::StrJoin(said_, "\n");
  EXPECT_EQ(said_.size(), 5u);
  ASSERT_EQ(taken_.all.size(), 1u);
  EXPECT_EQ(taken_.all[0].body, "Subject: sound\n");
}

TEST_F(SpoolReaderTest, SomethingElseIsNoSpool) {
  Read(false, Options());
  EXPECT_EQ(status_.code(), absl::StatusCode::kNotFound);
  Read(true, Options());
  EXPECT_EQ(status_.code(), absl::StatusCode::kNotFound);
}

std::string Record(char type, absl::string_view data) {
  return absl::StrCat(std::string(1, type),
                      std::string(1, static_cast<char>(data.size())), data);
}

std::string PostfixFile() {
  return absl::StrCat(
      Record('C', "5302 795 2 2 5302 0"), Record('T', "1795396421 494518"),
      Record('S', "alice@from.example"), Record('D', "done@one.example"),
      Record('R', "dan@one.example"), Record('M', ""),
      Record('N', "Subject: x"), Record('X', ""), Record('E', ""));
}

TEST_F(SpoolReaderTest, PostfixQueuesHoldsAndTries) {
  Write("deferred/7/78D19B403C7", PostfixFile(), 0700);
  const size_t offset = PostfixFile().find(
      "R\x0f"
      "dan");
  Write("defer/7/78D19B403C7",
        absl::StrCat("\n<dan>: no\noffset=", offset,
                     "\nstatus=4.4.1\nreason=refused\n"));
  Write("hold/88D19B403C7", PostfixFile(), 0700);
  Write("incoming/98D19B403C7", PostfixFile(), 0600);  // not whole
  Write("active/A8D19B403C7", "garbage", 0700);
  Write("corrupt/B8D19B403C7", "x", 0700);
  SpoolOptions options = Options();
  options.action = "relay";
  const SpoolSummary summary = Read(true, std::move(options));
  ASSERT_TRUE(status_.ok()) << status_;
  EXPECT_EQ(summary.messages, 2u);
  EXPECT_EQ(summary.delivered, 2u);
  EXPECT_EQ(summary.left_out, 2u) << absl::StrJoin(said_, "\n");
  EXPECT_EQ(said_.size(), 3u);  // and "corrupt"
  ASSERT_EQ(taken_.all.size(), 2u);
  const ExportEnvelope& deferred = taken_.all[0].envelopes[0];
  EXPECT_EQ(deferred.envelope.action, "relay");
  EXPECT_EQ(deferred.envelope.retry, 1u);
  EXPECT_EQ(deferred.envelope.error_line, "refused");
  EXPECT_EQ(deferred.envelope.attempts.size(), 1u);
  EXPECT_EQ(deferred.envelope.sockaddr, "local");
  EXPECT_TRUE(deferred.due.has_value());
  const ExportEnvelope& held = taken_.all[1].envelopes[0];
  EXPECT_TRUE(held.envelope.flags & kFlagHeld);
  EXPECT_FALSE(held.due.has_value());
  EXPECT_EQ(held.envelope.retry, 0u);
  EXPECT_EQ(taken_.all[1].body, "Subject: x\n");
  EXPECT_NE(taken_.all[0].message.origin_serial,
            taken_.all[1].message.origin_serial);
}

TEST_F(SpoolReaderTest, PostfixThatRunsIsToldToStop) {
  Write("deferred/78D19B403C7", PostfixFile(), 0700);
  Write("pid/master.pid", "17\n");
  const OwnedFd master(
      open((folder_ + "/pid/master.pid").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(flock(master.get(), LOCK_EX), 0);
  Read(true, Options());
  EXPECT_EQ(status_.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(taken_.all.empty());
}

}  // namespace
}  // namespace holdfast
