#include "server/queue/control_commands_queue_list.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/queue_lister.h"
#include "server/queue/fake_queue.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Words = std::vector<std::string>;

class Output : public ControlOutput {
 public:
  void Text(std::string text) override {
    EXPECT_TRUE(credit);
    EXPECT_FALSE(text.empty());
    EXPECT_LE(text.size(), kMaxControlText);
    credit = false;
    all += text;
    ++pieces;
  }
  void Done(ControlDone result) override { done = std::move(result); }

  std::string all;
  int pieces = 0;
  bool credit = true;
  std::optional<ControlDone> done;
};

class QueueListTest : public testing::Test {
 protected:
  QueueListTest() {
    services_.config_.actions["out"].method = ActionMethod::kRelay;
  }

  Envelope& Add(uint64_t id, const std::string& domain) {
    Envelope& e = services_.store()->envelopes[EnvelopeId{id}];
    e.id = EnvelopeId{id};
    e.action = "out";
    e.sender = {"alice", "mx.example.org"};
    e.rcpt = e.dest = {"bob", domain};
    e.routing_key = domain;
    e.created = services_.loop()->Now() - absl::Hours(1);
    e.expires = e.created + absl::Hours(96);
    services_.store()->due[e.id] = services_.loop()->Now();
    DestinationRow& row = services_.store()->destinations[domain];
    row.kind = DeliveryKind::kMta;
    row.action = "out";
    row.routing_key = domain;
    if (row.id == DestinationId{})
      row.id = DestinationId{
          static_cast<uint32_t>(services_.store()->destinations.size())};
    return e;
  }

  // Everything a command says, with credit whenever it was taken.
  std::string Run(const Words& words) {
    Output output;
    const auto command = MakeQueueListCommand(words, &services_, &output);
    if (command == nullptr) return "?";
    command->OnCredit();
    for (int turns = 0; !output.done && turns < 10000; ++turns) {
      services_.loop()->RunReady();
      if (!output.credit) {
        output.credit = true;
        command->OnCredit();
      }
    }
    EXPECT_TRUE(output.done.has_value());
    pieces_ = output.pieces;
    error_ = output.done->error;
    EXPECT_EQ(output.done->ok, error_.empty());
    return output.all;
  }

  FakeQueueServices services_;
  int pieces_ = 0;
  std::string error_;
};

TEST_F(QueueListTest, AnEmptyQueueIsNothing) {
  EXPECT_EQ(Run({"queue", "list"}), "");
  EXPECT_EQ(Run({"show", "queue"}), "");
  EXPECT_EQ(Run({"queue", "list", "--count"}), "0\n");
  EXPECT_EQ(Run({"queue", "check"}), "?");
}

TEST_F(QueueListTest, ByFilter) {
  Add(0x100000001, "a.example");
  Add(0x100000002, "b.example").retry = 5;
  Add(0x200000001, "b.example");
  EXPECT_EQ(Run({"queue", "list", "--format=id", "domain", "=", "b.example"}),
            "0000000100000002\n0000000200000001\n");
  EXPECT_EQ(Run({"queue", "list", "--format=id,tries",
                 "domain = b.example and attempts > 2"}),
            "0000000100000002\t5\n");
  EXPECT_EQ(Run({"queue", "list", "--format", "id", "--limit", "1"}),
            "0000000100000001\n");
  EXPECT_EQ(Run({"queue", "list", "--group-by", "domain", "--format=csv"}),
            "domain,count,bytes,oldest\r\nb.example,2,0,3600\r\na.example,1,0,"
            "3600\r\n");
}

TEST_F(QueueListTest, ShowQueueTakesAMessageOrAFilter) {
  Add(0x100000001, "a.example");
  Add(0x200000001, "b.example");
  EXPECT_THAT(Run({"show", "queue", "00000002"}),
              StartsWith("0000000200000001|"));
  EXPECT_THAT(Run({"show", "queue", "domain", "=", "a.example"}),
              StartsWith("0000000100000001|"));
  EXPECT_THAT(Run({"show", "queue", "--json"}),
              StartsWith("{\"id\":\"0000000100000001\","));
}

TEST_F(QueueListTest, WhatIsInFlightSaysSo) {
  Add(0x100000001, "a.example");
  services_.in_flight[EnvelopeId{0x100000001}] = services_.loop()->Now();
  EXPECT_THAT(Run({"show", "queue"}), HasSubstr("|inflight|0|"));
  services_.store()->claimed.insert(EnvelopeId{0x100000001});
  EXPECT_EQ(Run({"queue", "list", "--count", "state=inflight"}), "1\n");
}

TEST_F(QueueListTest, ErrorsPointAtTheCharacter) {
  EXPECT_EQ(Run({"queue", "list", "age", ">", "2x"}), "");
  EXPECT_EQ(error_,
            "expected a time: numbers with s, m, h, d or w behind each\n"
            "  age > 2x\n"
            "        ^");
  EXPECT_EQ(Run({"show", "queue", "agee > 2h"}), "");
  EXPECT_THAT(error_, StartsWith("there is no field 'agee', did you mean"));
  EXPECT_EQ(Run({"queue", "list", "--sort"}), "");
  EXPECT_EQ(error_, "--sort: a value must follow");
}

TEST_F(QueueListTest, AStoreThatCannotBeRead) {
  services_.store()->read_status = absl::DataLossError("torn");
  EXPECT_EQ(Run({"queue", "list"}), "");
  EXPECT_EQ(error_, "torn");
}

TEST_F(QueueListTest, LongAnswersComeInPieces) {
  for (uint64_t i = 1; i <= 3000; ++i)
    Add(0x100000000 + i, "a.example").error_line = std::string(1000, 'x');
  for (const Words& words : {Words{"show", "queue"},
                             {"queue", "list"},
                             {"queue", "list", "--json"},
                             {"queue", "list", "--sort=id"}}) {
    const std::string text = Run(words);
    EXPECT_GT(pieces_, 4);
    const auto lines = std::count(text.begin(), text.end(), '\n');
    EXPECT_EQ(lines - (words.size() == 2 && words[0] == "queue" ? 1 : 0) -
                  (words.back() == "--sort=id" ? 1 : 0),
              3000);
  }
}

TEST_F(QueueListTest, TooMuchToSort) {
  for (uint64_t i = 1; i <= 3000; ++i)
    Add(0x100000000 + i, "a.example").error_line =
        std::string(kMaxListedBytes / 2000, 'x');
  EXPECT_EQ(Run({"queue", "list", "--sort=age"}), "");
  EXPECT_THAT(error_, HasSubstr("say --limit, or a narrower filter"));
  Run({"queue", "list", "--sort=age", "--limit=10"});
  EXPECT_EQ(error_, "");
}

TEST_F(QueueListTest, FewListingsMayKeepRows) {
  Output output;
  std::vector<std::shared_ptr<ControlCommand>> running;
  for (int i = 0; i < kMaxGatheringLists; ++i)
    running.push_back(MakeQueueListCommand({"queue", "list", "--sort=age"},
                                           &services_, &output));
  Run({"queue", "list", "--group-by=domain"});
  EXPECT_THAT(error_, StartsWith("busy: "));
  Run({"queue", "list", "--count"});
  EXPECT_EQ(error_, "");
  running.pop_back();
  Run({"queue", "list", "--group-by=domain"});
  EXPECT_EQ(error_, "");
}

}  // namespace
}  // namespace holdfast
