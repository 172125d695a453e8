// smtpctl's commands about relaying, against a router in memory.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/queue/control_command.h"
#include "server/queue/fake_queue.h"

namespace holdfast {
namespace {

constexpr WorkerId kWorker{1};

class Output : public ControlOutput {
 public:
  void Text(std::string text) override {
    EXPECT_LE(text.size(), kMaxControlText);
    all += text;
    ++pieces;
  }
  void Done(ControlDone result) override { done = std::move(result); }

  std::string all;
  int pieces = 0;
  std::optional<ControlDone> done;
};

class MtaCommandsTest : public ::testing::Test {
 protected:
  // The output of a command, "?" if there is none such.
  std::string Run(const std::string& line) {
    Output output;
    const auto command =
        MakeMtaCommand(absl::StrSplit(line, ' '), &services_, &output);
    if (command == nullptr) return "?";
    while (!output.done) command->OnCredit();
    pieces_ = output.pieces;
    ok_ = output.done->ok;
    return output.all;
  }
  SlotAnswer Ask(const std::string& address, const std::string& source = "") {
    SlotRequest request;
    request.target.action = "out";
    request.target.domain = request.domain = "example.net";
    request.source = source;
    request.hosts.push_back({address, "mx.example.net", 0});
    return services_.router()->Ask(kWorker, request,
                                   services_.loop()->Elapsed());
  }
  void Tell(uint64_t slot, SlotReport::Event event) {
    services_.router()->Report(kWorker, {slot, event, "ptr.example.net"},
                               services_.loop()->Elapsed());
  }

  FakeQueueServices services_;
  int pieces_ = 0;
  bool ok_ = false;
};

TEST_F(MtaCommandsTest, Listings) {
  EXPECT_EQ(Run("show hosts"), "");
  EXPECT_TRUE(ok_);
  Tell(Ask("192.0.2.9").slot, SlotReport::Event::kReady);
  services_.loop()->Advance(absl::Seconds(5));
  EXPECT_EQ(Run("show hosts"),
            "192.0.2.9 ptr.example.net refcount=1 nconn=1 lastconn=5s\n");
  EXPECT_EQ(Run("show routes"),
            "1. [] <-> 192.0.2.9 (ptr.example.net) ---- nconn=1 nerror=0 "
            "penalty=0 timeout=-\n");
  EXPECT_EQ(Run("show relays"),
            "[relay:example.net,smtp] refcount=1 ntask=0 nconn=1 lastconn=5s "
            "timeout=- wait=\n"
            "  connector [] refcount=0 nconn=1 lastconn=5s timeout=- flags=\n");
}

TEST_F(MtaCommandsTest, HostStats) {
  services_.host_stats()->Note("example.net", "250 2.1.5 Ok",
                               absl::FromUnixSeconds(1795324100));
  services_.loop()->Advance(absl::FromUnixSeconds(1795324101) -
                            services_.loop()->Now());
  EXPECT_EQ(Run("show hoststats"), "example.net|1795324100|250 2.1.5 Ok\n");
}

TEST_F(MtaCommandsTest, LongListingsComeInPieces) {
  for (int i = 0; i < 10000; ++i) {
    services_.host_stats()->Note(absl::StrCat("d", i, ".example"),
                                 std::string(400, 'x'),
                                 services_.loop()->Now());
  }
  const std::string all = Run("show hoststats");
  EXPECT_GT(pieces_, 3);
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 10000);
}

TEST_F(MtaCommandsTest, RoutesByNumber) {
  Tell(Ask("192.0.2.9").slot, SlotReport::Event::kFailed);
  EXPECT_EQ(Ask("192.0.2.9").result, SlotAnswer::Result::kNoRoute);
  EXPECT_EQ(Run("resume route 1"), "command succeeded\n");
  EXPECT_EQ(Ask("192.0.2.9").result, SlotAnswer::Result::kGranted);
  EXPECT_EQ(Run("resume route 99"), "command succeeded\n");
  EXPECT_TRUE(ok_);
  EXPECT_EQ(Run("disable route 1"), "command succeeded\n");
  EXPECT_EQ(Ask("192.0.2.9").result, SlotAnswer::Result::kNoRoute);
  EXPECT_EQ(Run("enable route 1"), "command succeeded\n");
  EXPECT_EQ(Ask("192.0.2.9").result, SlotAnswer::Result::kLater);
  for (const char* command : {"disable route 99", "enable route 99",
                              "disable route x", "resume route -1"}) {
    EXPECT_EQ(Run(command), "command failed\n") << command;
    EXPECT_FALSE(ok_);
  }
}

TEST_F(MtaCommandsTest, Blocks) {
  EXPECT_EQ(Run("pause mta from 192.0.2.77 for Example.NET"),
            "command succeeded\n");
  EXPECT_EQ(Run("pause mta from [2001:db8::7] for other.test"),
            "command succeeded\n");
  EXPECT_EQ(Run("pause mta from [] for example.net"), "command succeeded\n");
  EXPECT_EQ(Run("show mta paused"),
            "[] -> example.net\n192.0.2.77 -> example.net\n"
            "2001:db8::7 -> other.test\n");
  EXPECT_EQ(Ask("192.0.2.9").failure, "All routes to destination blocked");
  EXPECT_EQ(Run("resume mta from [] for EXAMPLE.net"), "command succeeded\n");
  EXPECT_EQ(Ask("192.0.2.9").result, SlotAnswer::Result::kGranted);
  EXPECT_EQ(Ask("192.0.2.9", "192.0.2.77").failure,
            "All routes to destination blocked");
  EXPECT_EQ(Run("resume mta from 2001:0db8::7 for other.test"),
            "command succeeded\n");
  EXPECT_EQ(Run("show mta paused"), "192.0.2.77 -> example.net\n");
}

TEST_F(MtaCommandsTest, WhatIsNoAddressOrNoDomain) {
  EXPECT_EQ(Run("pause mta from nowhere for example.net"), "command failed\n");
  EXPECT_EQ(Run("pause mta from [x] for example.net"), "command failed\n");
  EXPECT_EQ(Run("resume mta from 1.2.3 for example.net"), "command failed\n");
  EXPECT_EQ(Run("pause mta from [] for " + std::string(256, 'd')),
            "command failed\n");
  EXPECT_FALSE(ok_);
  EXPECT_EQ(Run("show mta paused"), "");
}

TEST_F(MtaCommandsTest, OtherCommandsAreNotItsOwn) {
  for (const char* command :
       {"show", "show queue", "pause mta", "resume mta", "enable",
        "show mta paused now", "pause mta from [] to x", "remove route 1"}) {
    EXPECT_EQ(Run(command), "?") << command;
  }
}

}  // namespace
}  // namespace holdfast
