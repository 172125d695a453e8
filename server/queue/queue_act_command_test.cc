#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/queue/act_log.h"
#include "server/queue/act_preview.h"
#include "server/queue/control_commands_queue_act.h"
#include "server/queue/fake_queue.h"

namespace holdfast {
namespace {

class Output : public ControlOutput {
 public:
  void Text(std::string piece) override {
    text += piece;
    owed = true;
  }
  void Done(ControlDone d) override { done = d; }
  std::string text;
  std::optional<ControlDone> done;
  bool owed = false;
};

std::string ReadAll(const std::string& path) {
  std::string text;
  if (FILE* f = fopen(path.c_str(), "r")) {
    char buffer[4096];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, f)) > 0;)
      text.append(buffer, n);
    fclose(f);
  }
  return text;
}

class QueueActCommandTest : public ::testing::Test {
 protected:
  QueueActCommandTest() {
    folder_ = absl::StrCat(::testing::TempDir(), "/acts.", getpid());
    queue_.config_.spool = folder_;
    store_ = PathsBelow(folder_).store;
    EXPECT_EQ(system(absl::StrCat("mkdir -p ", store_).c_str()), 0);
    remove(LogPath().c_str());
    for (uint32_t i = 1; i <= 700; ++i) {
      Envelope e;
      e.id = MakeEnvelopeId(MessageId(i), 1);
      e.kind = DeliveryKind::kMta;
      e.dest.domain = i <= 600 ? "example.org" : "example.net";
      e.routing_key = e.dest.domain;
      e.created = queue_.loop()->Now();
      queue_.store()->envelopes[e.id] = e;
      queue_.store()->due[e.id] = e.created;
    }
  }
  std::string LogPath() const { return store_ + "/acts.log"; }

  Output Run(absl::string_view line, uid_t uid = 0) {
    Output output;
    std::shared_ptr<ControlCommand> command = MakeQueueActCommand(
        absl::StrSplit(line, ' '), &queue_, &output, {uid, 71}, tokens_);
    EXPECT_NE(command, nullptr) << line;
    command->OnCredit();
    for (int i = 0; i < 100 && !output.done; ++i) {
      queue_.loop()->RunReady();
      if (std::exchange(output.owed, false)) command->OnCredit();
    }
    EXPECT_TRUE(output.done.has_value()) << line;
    return output;
  }
  static std::string TokenIn(const std::string& text) {
    const size_t at = text.find("--token ");
    return at == std::string::npos ? "" : text.substr(at + 8, 8);
  }

  std::string folder_, store_;
  FakeQueueServices queue_;
  const std::shared_ptr<ActTokens> tokens_ = std::make_shared<ActTokens>();
};

TEST_F(QueueActCommandTest, ShowsThenDoesWhatWasShown) {
  const Output shown = Run("queue remove domain ~ example.org");
  EXPECT_TRUE(absl::StrContains(shown.text, "remove: 600 envelopes, "))
      << shown.text;
  EXPECT_TRUE(absl::StrContains(shown.text, "    example.org: 600 envelopes"));
  EXPECT_EQ(queue_.store()->envelopes.size(), 700u) << "only shown";
  EXPECT_EQ(ReadAll(LogPath()), "");
  const std::string token = TokenIn(shown.text);
  // One that came since is not meant.
  Envelope late = queue_.store()->envelopes.begin()->second;
  late.id = MakeEnvelopeId(MessageId(9000), 1);
  queue_.store()->envelopes[late.id] = late;
  const Output done = Run("queue remove --token " + token);
  EXPECT_EQ(done.text, "600 envelopes removed\n");
  EXPECT_EQ(done.done->count, 600u);
  EXPECT_EQ(queue_.store()->envelopes.size(), 101u);
  EXPECT_EQ(queue_.slices.size(), 3u) << "of 256 each";
  const std::string log = ReadAll(LogPath());
  EXPECT_TRUE(absl::StrContains(log,
                                "uid=0 pid=71 found=600 act=\"remove\" "
                                "filter=\"domain ~ example.org\"\n"))
      << log;
  EXPECT_TRUE(absl::StrContains(log, " done=600 waiting=0 ")) << log;
  EXPECT_TRUE(absl::StrContains(log, "result=\"complete\"\n")) << log;
  EXPECT_FALSE(Run("queue remove --token " + token).done->ok) << "spent";
}

TEST_F(QueueActCommandTest, TokensAreForOneActFilterUserAndTime) {
  const std::string token =
      TokenIn(Run("queue hold domain ~ example.net").text);
  EXPECT_EQ(token.size(), 8u);
  EXPECT_FALSE(Run("queue hold --token 00000000").done->ok);
  EXPECT_EQ(Run("queue remove --token " + token).done->error,
            "this token is for: hold");
  EXPECT_FALSE(Run("queue hold --token " + token + " all").done->ok);
  EXPECT_FALSE(Run("queue hold --token " + token, 1000).done->ok);
  EXPECT_TRUE(queue_.slices.empty());
  queue_.loop()->Advance(kActTokenLife);
  EXPECT_FALSE(Run("queue hold --token " + token).done->ok) << "over";
  const std::string fresh =
      TokenIn(Run("queue hold domain ~ example.net").text);
  EXPECT_EQ(Run("queue hold --token " + fresh + " domain ~ example.net").text,
            "100 envelopes held\n");
}

TEST_F(QueueActCommandTest, TokensAreBounded) {
  std::string first;
  for (size_t i = 0; i <= kMaxActTokens; ++i) {
    const std::string token = TokenIn(Run("queue hold all").text);
    if (i == 0) first = token;
  }
  EXPECT_EQ(tokens_->size(), kMaxActTokens);
  EXPECT_FALSE(Run("queue hold --token " + first).done->ok) << "the oldest";
}

TEST_F(QueueActCommandTest, WhatIsInFlightOrGoneIsTold) {
  queue_.in_flight[MakeEnvelopeId(MessageId(1), 1)] = queue_.loop()->Now();
  const std::string token = TokenIn(Run("queue remove all").text);
  queue_.store()->envelopes.erase(MakeEnvelopeId(MessageId(2), 1));
  EXPECT_EQ(Run("queue remove --token " + token).text,
            "698 envelopes removed\n"
            "1 in flight: when the attempt is over\n"
            "1 gone meanwhile\n");
  EXPECT_EQ(Run("queue remove --yes all").text,
            "0 envelopes removed\n1 in flight: when the attempt is over\n");
}

TEST_F(QueueActCommandTest, AClientThatGoesLeavesARecord) {
  Output output;
  auto command = MakeQueueActCommand({"queue", "remove", "--yes", "all"},
                                     &queue_, &output, {0, 71}, tokens_);
  queue_.after_slice = [&] {
    if (queue_.slices.size() == 2) command.reset();
  };
  command->OnCredit();
  queue_.loop()->RunReady();
  EXPECT_EQ(command, nullptr);
  EXPECT_FALSE(output.done.has_value());
  EXPECT_EQ(queue_.slices.size(), 2u) << "the rest is left";
  const std::string log = ReadAll(LogPath());
  EXPECT_TRUE(absl::StrContains(log, "result=\"interrupted\"\n")) << log;
  EXPECT_TRUE(absl::StrContains(log, " done=512 ")) << log;
  EXPECT_TRUE(tokens_->Begin()) << "others may act";
  tokens_->End();
  queue_.after_slice = nullptr;
  // Repeated, it does what is left.
  Run("queue remove --yes all");
  EXPECT_TRUE(queue_.store()->envelopes.empty());
}

TEST_F(QueueActCommandTest, WhatIsLeftIsGoneOnWithByTheToken) {
  const std::string token = TokenIn(Run("queue hold all").text);
  Output output;
  auto command = MakeQueueActCommand({"queue", "hold", "--token", token},
                                     &queue_, &output, {0, 71}, tokens_);
  queue_.after_slice = [&] { command.reset(); };
  command->OnCredit();
  queue_.loop()->RunReady();
  queue_.after_slice = nullptr;
  ASSERT_EQ(queue_.slices.size(), 1u);
  EXPECT_EQ(Run("queue hold --token " + token).text, "444 envelopes held\n");
  EXPECT_FALSE(Run("queue hold --token " + token).done->ok) << "spent";
}

TEST_F(QueueActCommandTest, WaitsBetweenSlicesAsLongAsTheyTook) {
  queue_.after_slice = [&] { queue_.loop()->Advance(absl::Milliseconds(40)); };
  Output output;
  auto command = MakeQueueActCommand({"queue", "hold", "--yes", "all"}, &queue_,
                                     &output, {0, 71}, tokens_);
  command->OnCredit();
  queue_.loop()->RunReady();
  EXPECT_EQ(queue_.slices.size(), 1u);
  queue_.loop()->Advance(absl::Milliseconds(39));
  EXPECT_EQ(queue_.slices.size(), 1u) << "mail goes first";
  queue_.loop()->Advance(absl::Milliseconds(1));
  EXPECT_EQ(queue_.slices.size(), 2u);
  // The client goes during the wait.
  command.reset();
  queue_.loop()->Advance(absl::Seconds(1));
  EXPECT_EQ(queue_.slices.size(), 2u);
  EXPECT_TRUE(
      absl::StrContains(ReadAll(LogPath()), "result=\"interrupted\"\n"));
}

TEST_F(QueueActCommandTest, AsJson) {
  const Output shown = Run("queue remove --json domain ~ example.net");
  const Json preview = Json::parse(shown.text);
  EXPECT_EQ(preview["act"], "remove");
  EXPECT_EQ(preview["envelopes"], 100);
  EXPECT_EQ(preview["groups"][0]["destination"], "example.net");
  const std::string token = preview["token"];
  const Json done =
      Json::parse(Run("queue remove --token " + token + " --json").text);
  EXPECT_EQ(done["found"], 100);
  EXPECT_EQ(done["done"], 100);
  EXPECT_EQ(done["gone"], 0);
  EXPECT_TRUE(
      Json::parse(
          Run("queue remove domain = none.example --json").text)["token"]
          .is_null());
}

TEST_F(QueueActCommandTest, TheLogIsShown) {
  EXPECT_EQ(Run("queue log").text, "") << "there is none yet";
  EXPECT_TRUE(AppendActLine(LogPath() + ".1", "older").ok());
  Run("queue set --yes priority 3 domain ~ \"\\.net$\"");
  const std::string text = Run("queue log").text;
  EXPECT_TRUE(absl::StartsWith(text, "older\n")) << text;
  EXPECT_EQ(text, "older\n" + ReadAll(LogPath()));
  const std::vector<std::string> lines =
      absl::StrSplit(Run("queue log --json").text, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 3u);
  const Json begin = Json::parse(lines[1]), end = Json::parse(lines[2]);
  EXPECT_EQ(begin["event"], "begin");
  EXPECT_EQ(begin["uid"], 0);
  EXPECT_EQ(begin["found"], 100);
  EXPECT_EQ(begin["act"], "set priority 3");
  EXPECT_EQ(begin["filter"], "domain ~ \"\\.net$\"");
  EXPECT_EQ(end["number"], begin["number"]);
  EXPECT_EQ(end["done"], 100);
  EXPECT_EQ(end["result"], "complete");
  EXPECT_FALSE(Run("queue log x").done->ok);
  remove((LogPath() + ".1").c_str());
}

TEST_F(QueueActCommandTest, NothingIsDoneWithoutARecord) {
  queue_.config_.spool = "/nonexistent";
  const Output output = Run("queue remove --yes all");
  EXPECT_FALSE(output.done->ok);
  EXPECT_TRUE(absl::StrContains(output.done->error, "nothing was done: "));
  EXPECT_EQ(queue_.store()->envelopes.size(), 700u);
}

TEST_F(QueueActCommandTest, ErrorsPointAtTheCharacter) {
  const Output output = Run("queue remove domian = example.org");
  EXPECT_FALSE(output.done->ok);
  EXPECT_TRUE(absl::StrContains(output.done->error, "^")) << output.done->error;
}

TEST_F(QueueActCommandTest, OnlySoManyAtATime) {
  for (int i = 0; i < kMaxRunningActs; ++i) EXPECT_TRUE(tokens_->Begin());
  EXPECT_FALSE(Run("queue remove all").done->ok);
  tokens_->End();
  EXPECT_TRUE(Run("queue remove all").done->ok);
}

TEST_F(QueueActCommandTest, TheLogIsTurnedOver) {
  const std::string path = LogPath();
  EXPECT_TRUE(AppendActLine(path, "one", 8).ok());
  EXPECT_TRUE(AppendActLine(path, "two", 8).ok());
  EXPECT_TRUE(AppendActLine(path, "three", 8).ok());
  EXPECT_EQ(ReadAll(path), "three\n");
  EXPECT_EQ(ReadAll(path + ".1"), "one\ntwo\n");
}

TEST_F(QueueActCommandTest, NoHalfLineStaysOnAFullDisk) {
  const std::string path = LogPath();
  EXPECT_TRUE(AppendActLine(path, "one").ok());
  rlimit before = {}, small = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, SIG_IGN);
  small = before;
  small.rlim_cur = 6;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status status = AppendActLine(path, "two and more");
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_TRUE(AppendActLine(path, "three").ok());
  EXPECT_EQ(ReadAll(path), "one\nthree\n");
}

TEST(ActPreviewTest, BoundsWhatItShows) {
  ActPreview preview;
  EnvelopeAct act;
  EnvelopeFacts facts;
  facts.size = 10;
  for (uint32_t i = 0; i < kMaxActGroups + 5; ++i) {
    facts.envelope.id = EnvelopeId(i + 1);
    facts.destination = absl::StrCat("d", i, ".example");
    EXPECT_TRUE(preview.Add(act, facts, Config()));
  }
  EXPECT_EQ(preview.TakeEnvelopes().size(), kMaxActGroups + 5);
  const std::string text = preview.Text(act);
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  EXPECT_EQ(lines.size(), 1 + kMaxActGroupsShown + 1 + 1);
  EXPECT_TRUE(absl::StrContains(
      text, absl::StrCat(
                "other destinations: ", kMaxActGroups + 5 - kMaxActGroupsShown,
                " envelopes")));
}

}  // namespace
}  // namespace holdfast
