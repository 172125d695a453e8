#include "server/parent/agent_starter.h"

#include <pwd.h>
#include <signal.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/loop/fake_event_loop.h"
#include "server/parent/fake_processes.h"
#include "server/parent/userbase_check.h"

namespace holdfast {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr WorkerId kDeliver{5};

std::shared_ptr<Config> MakeConfig() {
  auto users =
      std::make_shared<Table>("u", Table::Kind::kMap, "static", "/users");
  users->Add("vm", "5000:5001:/vmail/x:y");
  users->Add("broken", "root");
  auto config = std::make_shared<Config>();
  Action action;
  action.name = "t";
  action.userbase = users;
  config->actions["t"] = action;
  action.name = "as";
  action.user = "vmail";
  config->actions["as"] = action;
  action = Action();
  action.name = "c";
  config->actions["c"] = action;
  action.name = "p";
  action.userbase = std::make_shared<Table>("people", Table::Kind::kDynamic,
                                            "ldap", "/etc/people");
  config->actions["p"] = action;
  return config;
}

class AgentStarterTest : public testing::Test {
 protected:
  AgentStarterTest() {
    std::tie(deliver_, door_) = MakeDoorPair(&loop_);
    deliver_->SetCallbacks([this](Frame& frame) { OnFrame(frame); },
                           [](absl::Status) {});
    AgentStarter::Options options;
    options.program = "/x/smtpd-agent";
    options.privileged = true;
    options.config = MakeConfig();
    options.own_uids = {102};
    options.ask_program = [this](const TableQuery& query,
                                 absl::AnyInvocable<void(TableResult)> done) {
      asked_.emplace_back(query, std::move(done));
    };
    starter_ = std::make_unique<AgentStarter>(
        &loop_, &processes_, options,
        [this](WorkerId worker) { last_ended_.push_back(worker); });
  }
  void TearDown() override {
    starter_.reset();
    loop_.RunReady();
  }
  void OnFrame(Frame& frame) {
    std::vector<OwnedFd> fds = std::move(frame.fds);
    ASSERT_TRUE((Dispatch<AgentReady, AgentEnded>(
        frame, [&](auto& m) { Take(m, std::move(fds)); })));
  }
  void Take(AgentReady& ready, std::vector<OwnedFd> fds) {
    ready_.push_back(ready);
    EXPECT_EQ(fds.size(), ready.ok ? 1u : 0u);
    for (OwnedFd& fd : fds) fds_.push_back(std::move(fd));
  }
  void Take(AgentEnded& ended, std::vector<OwnedFd>) {
    ended_.push_back(ended);
  }

  void Ask(const std::string& user, uint64_t request = 1) {
    AgentRequest r;
    r.request = request;
    r.user = user;
    starter_->OnRequest(kDeliver, door_.get(), r);
    loop_.RunReady();
  }
  // The agent says how its beginning went, and closes that pipe.
  void Say(FakeProcesses::Child* child, const std::string& text) {
    ASSERT_EQ(write(child->start.fds.at(1).get(), text.data(), text.size()),
              static_cast<ssize_t>(text.size()));
    child->start.fds[1].Reset();
    loop_.RunReady();
  }
  void End(FakeProcesses::Child* child, int status) {
    processes_.End(child, status);
    loop_.RunReady();
  }
  FakeProcesses::Child* child(size_t i) {
    return processes_.children.at(i).get();
  }

  FakeEventLoop loop_;
  FakeProcesses processes_;
  std::unique_ptr<Door> deliver_, door_;
  std::unique_ptr<AgentStarter> starter_;
  std::vector<AgentReady> ready_;
  std::vector<AgentEnded> ended_;
  std::vector<OwnedFd> fds_;
  std::vector<WorkerId> last_ended_;
  std::vector<std::pair<TableQuery, absl::AnyInvocable<void(TableResult)>>>
      asked_;
};

TEST_F(AgentStarterTest, FromRequestToEnd) {
  Ask("bob", 9);
  ASSERT_EQ(processes_.children.size(), 1u);
  EXPECT_EQ(child(0)->start.path, "/x/smtpd-agent");
  EXPECT_THAT(child(0)->start.arguments,
              ElementsAre("--privileged", "--user=bob"));
  EXPECT_THAT(ready_, IsEmpty());
  Say(child(0), "o/home/bob");
  ASSERT_EQ(ready_.size(), 1u);
  EXPECT_TRUE(ready_[0].ok);
  EXPECT_EQ(ready_[0].request, 9u);
  EXPECT_EQ(ready_[0].home, "/home/bob");
  // Deliver's end of the door of that process.
  EXPECT_EQ(write(fds_.at(0).get(), "x", 1), 1);
  char c = 0;
  EXPECT_EQ(read(child(0)->start.fds[0].get(), &c, 1), 1);
  End(child(0), kKilled);
  ASSERT_EQ(ended_.size(), 1u);
  EXPECT_EQ(ended_[0].agent, ready_[0].agent);
  EXPECT_EQ(ended_[0].how, "terminated; signal 9");
}

TEST_F(AgentStarterTest, RefusalsOfTheAgent) {
  Ask("bob", 1);
  Say(child(0), "pdelivery user 'bob' does not exist");
  Ask("bob", 2);
  Say(child(1), "tuser database: timeout");
  Ask("bob", 3);
  End(child(2), kExitedOne);  // not a word
  ASSERT_EQ(ready_.size(), 3u);
  EXPECT_FALSE(ready_[0].ok);
  EXPECT_TRUE(ready_[0].permanent);
  EXPECT_EQ(ready_[0].error, "delivery user 'bob' does not exist");
  EXPECT_FALSE(ready_[1].permanent);
  EXPECT_EQ(ready_[2].error, "exited abnormally");
  End(child(0), kExitedOne);
  End(child(1), kExitedOne);
  EXPECT_EQ(ready_.size(), 3u);
  EXPECT_THAT(ended_, IsEmpty());
}

TEST_F(AgentStarterTest, AHungUserDatabase) {
  Ask("bob");
  loop_.Advance(kAgentStartDeadline);
  EXPECT_THAT(child(0)->signals, ElementsAre(SIGKILL));
  End(child(0), kKilled);
  ASSERT_EQ(ready_.size(), 1u);
  EXPECT_FALSE(ready_[0].ok);
  EXPECT_FALSE(ready_[0].permanent);
}

TEST_F(AgentStarterTest, NamesThatNoUserHas) {
  for (const std::string& name :
       {std::string(), std::string("a/b"), std::string("a\0b", 3),
        std::string(256, 'a')})
    Ask(name);
  EXPECT_THAT(processes_.children, IsEmpty());
  ASSERT_EQ(ready_.size(), 4u);
  for (const AgentReady& ready : ready_) EXPECT_TRUE(ready.permanent);
}

TEST_F(AgentStarterTest, ThereIsALimit) {
  const size_t limit = MdaLimits().max_session + kMaxKeptAgents;
  for (size_t i = 0; i < limit + 1; ++i) Ask("bob");
  EXPECT_EQ(processes_.children.size(), limit);
  ASSERT_EQ(ready_.size(), 1u);
  EXPECT_FALSE(ready_[0].permanent);
}

TEST_F(AgentStarterTest, OnlyItsOwnDeliverMayKill) {
  Ask("bob");
  Say(child(0), "o");
  AgentKill kill;
  kill.agent = ready_.at(0).agent;
  starter_->OnKill(WorkerId(6), kill);
  EXPECT_THAT(child(0)->signals, IsEmpty());
  starter_->OnKill(kDeliver, kill);
  EXPECT_THAT(child(0)->signals, ElementsAre(SIGKILL));
}

// Their users may have stopped them: others' mail does not wait for that.
TEST_F(AgentStarterTest, ADeadDeliversAgentsEndInTime) {
  constexpr absl::Duration kSecond = absl::Seconds(1);
  Ask("bob", 1);
  Ask("ann", 2);
  AgentRequest commands;
  commands.request = 3;
  commands.user = "joe";
  commands.action = "c";
  commands.commands = true;
  starter_->OnRequest(kDeliver, door_.get(), commands);
  loop_.RunReady();
  Say(child(0), "o");
  Say(child(2), "o");
  ASSERT_TRUE(starter_->OnDeliverDied(kDeliver));
  door_.reset();
  Say(child(1), "o");  // has nothing to end
  loop_.Advance(kAgentEnd - kSecond);
  EXPECT_THAT(child(1)->signals, IsEmpty());
  loop_.Advance(kSecond);
  EXPECT_THAT(child(1)->signals, ElementsAre(SIGKILL));
  loop_.Advance(absl::Seconds(kAgentStepSeconds) - kSecond);
  EXPECT_THAT(child(0)->signals, IsEmpty());
  loop_.Advance(kSecond);
  EXPECT_THAT(child(0)->signals, ElementsAre(SIGKILL));
  EXPECT_THAT(child(2)->signals, IsEmpty());
  const unsigned limit =
      CommandStepSeconds(static_cast<unsigned>(MdaLimits().command_timeout));
  ASSERT_GT(limit, kAgentStepSeconds);
  loop_.Advance(absl::Seconds(limit - kAgentStepSeconds));
  EXPECT_THAT(child(2)->signals, ElementsAre(SIGKILL));
  for (const size_t i : {0, 1, 2}) End(child(i), kKilled);
  EXPECT_THAT(last_ended_, ElementsAre(kDeliver));
}

TEST_F(AgentStarterTest, OneThatWasRefusedAndDoesNotEnd) {
  Ask("bob");
  Say(child(0), "tno");
  EXPECT_THAT(ready_, testing::SizeIs(1));
  loop_.Advance(kAgentEnd);
  EXPECT_THAT(child(0)->signals, ElementsAre(SIGKILL));
}

TEST_F(AgentStarterTest, DeliverIsToldThatThereIsNoRoom) {
  processes_.refuse = true;
  Ask("bob");
  ASSERT_THAT(ready_, testing::SizeIs(1));
  EXPECT_FALSE(ready_[0].permanent);
  EXPECT_THAT(ready_[0].error, testing::StartsWith(kNoAgentRoom));
}

TEST_F(AgentStarterTest, ADeadDeliversAgents) {
  EXPECT_FALSE(starter_->OnDeliverDied(kDeliver));
  Ask("bob");
  Ask("ann");
  Say(child(0), "o");
  EXPECT_TRUE(starter_->OnDeliverDied(kDeliver));
  door_.reset();
  Say(child(1), "o");  // nobody wants it any more
  End(child(0), kExitedOkay);
  EXPECT_THAT(last_ended_, IsEmpty());
  End(child(1), kExitedOkay);
  EXPECT_THAT(last_ended_, ElementsAre(kDeliver));
}

// ---- userbases of programs

class ProgramUserbaseTest : public AgentStarterTest {
 protected:
  void AskFor(const std::string& user, const std::string& mailbox = "") {
    AgentRequest request;
    request.action = "p";
    request.user = user;
    request.mailbox_user = mailbox;
    starter_->OnRequest(kDeliver, door_.get(), request);
    loop_.RunReady();
  }
  void Answer(TableResult result) {
    auto done = std::move(asked_.back().second);
    done(std::move(result));
    loop_.RunReady();
  }
  static TableResult Found(const std::string& value) {
    return std::optional<std::string>(value);
  }
};

TEST_F(ProgramUserbaseTest, IsAskedFirst) {
  AskFor("joe", "Ann");
  ASSERT_EQ(asked_.size(), 1u);
  EXPECT_EQ(asked_[0].first.table, "people");
  EXPECT_EQ(asked_[0].first.op, TableOp::kLookup);
  EXPECT_EQ(asked_[0].first.service, TableService::kUserinfo);
  EXPECT_EQ(asked_[0].first.key, "joe");
  Answer(Found("5000:5001:/home/joe"));
  ASSERT_EQ(asked_.size(), 2u);
  EXPECT_EQ(asked_[1].first.key, "ann");
  EXPECT_THAT(processes_.children, IsEmpty());
  Answer(Found("5002:5002:/home/ann"));
  ASSERT_EQ(processes_.children.size(), 1u);
  EXPECT_THAT(child(0)->start.arguments, testing::Contains("--uid=5000"));
}

TEST_F(ProgramUserbaseTest, SomeNobodyMayName) {
  for (const char* value : {"0:5000:/root", "102:5000:/var/spool", "99:5000:/",
                            "5000:0:/", "5000:8:/var/mail", "5000:99:/"}) {
    AskFor("joe");
    Answer(Found(value));
  }
  AskFor("joe");
  Answer(Found("nonsense"));
  AskFor("joe");
  Answer(absl::UnavailableError("gone"));
  AskFor("joe");
  Answer(std::optional<std::string>());
  EXPECT_THAT(processes_.children, IsEmpty());
  ASSERT_EQ(ready_.size(), 9u);
  for (size_t i = 0; i < 8; ++i) EXPECT_FALSE(ready_[i].permanent) << i;
  EXPECT_TRUE(ready_[8].permanent);
}

TEST_F(ProgramUserbaseTest, DeliverMayDieMeanwhile) {
  AskFor("joe");
  starter_->OnDeliverDied(kDeliver);
  door_.reset();
  Answer(Found("5000:5001:/home/joe"));
  EXPECT_THAT(processes_.children, IsEmpty());
}

TEST_F(ProgramUserbaseTest, WhoWaitsCounts) {
  const size_t limit = MdaLimits().max_session + kMaxKeptAgents;
  for (size_t i = 0; i < limit + 1; ++i) AskFor("joe");
  EXPECT_EQ(asked_.size(), limit);
  ASSERT_EQ(ready_.size(), 1u);
  EXPECT_THAT(ready_[0].error, testing::StartsWith(kNoAgentRoom));
}

TEST(MayBeNamed, NotTheSystemNorUs) {
  EXPECT_FALSE(MayBeNamed(0, 5000, {}));
  EXPECT_FALSE(MayBeNamed(kFirstNameableId - 1, 5000, {}));
  EXPECT_FALSE(MayBeNamed(5000, 0, {}));
  EXPECT_FALSE(MayBeNamed(5000, kFirstNameableId - 1, {}));
  EXPECT_TRUE(MayBeNamed(kFirstNameableId, kFirstNameableId, {}));
  EXPECT_FALSE(MayBeNamed(102, 5000, {101, 102}));
  EXPECT_TRUE(MayBeNamed(103, 5000, {101, 102}));
}

TEST(MayBeNamed, NotInAGroupOfOurs) {
  const passwd* nobody = getpwnam("nobody");
  ASSERT_NE(nobody, nullptr);
  const uint32_t uid = nobody->pw_uid, gid = nobody->pw_gid;
  ASSERT_GE(gid, kFirstNameableId);
  EXPECT_TRUE(MayBeNamed(5000, gid, {102}));
  EXPECT_FALSE(MayBeNamed(5000, gid, {102, uid}));
}

TEST(IsInUserbase, OfAProgramAnybodyElse) {
  Config config;
  config.actions["p"].userbase =
      std::make_shared<Table>("people", Table::Kind::kDynamic, "ldap", "");
  ForwardQuestion question;
  question.name = "joe";
  question.has_user = true;
  question.home = "/home/joe";
  question.uid = question.gid = 5000;
  EXPECT_TRUE(IsInUserbase(config, question, {102}));
  question.gid = 0;
  EXPECT_FALSE(IsInUserbase(config, question, {102}));
  question.gid = 5000;
  question.uid = 102;
  EXPECT_FALSE(IsInUserbase(config, question, {102}));
  question.uid = 0;
  EXPECT_FALSE(IsInUserbase(config, question, {102}));
  question.uid = 5000;
  config.actions["p"].userbase =
      std::make_shared<Table>("u", Table::Kind::kMap, "static", "");
  EXPECT_FALSE(IsInUserbase(config, question, {102}));
}

// ---- table userbases

absl::StatusOr<AgentArguments> For(const std::string& action,
                                   const std::string& user,
                                   const std::string& mailbox = "") {
  AgentRequest request;
  request.action = action;
  request.user = user;
  request.mailbox_user = mailbox;
  TableAnswers answers;
  return ArgumentsFor(request, *MakeConfig(), "/helpers", {}, &answers);
}

TEST(ArgumentsFor, UsersOfATable) {
  auto arguments = For("t", "vm", "vm");
  ASSERT_TRUE(arguments.ok()) << arguments.status();
  ASSERT_TRUE(arguments->known.has_value());
  EXPECT_EQ(arguments->known->uid, 5000u);
  EXPECT_EQ(arguments->known->gid, 5001u);
  EXPECT_EQ(arguments->known->home, "/vmail/x:y");
  EXPECT_EQ(arguments->mailbox_home, "/vmail/x:y");
  EXPECT_TRUE(absl::IsNotFound(For("t", "nobody").status()));
  EXPECT_TRUE(absl::IsUnavailable(For("t", "broken").status()));
  EXPECT_TRUE(absl::IsUnavailable(For("no action", "vm").status()));
}

TEST(ArgumentsFor, CommandsHaveTheLimitsOfTheConfiguration) {
  Config config;
  Action action;
  action.name = "t";
  config.actions["t"] = action;
  AgentRequest request;
  request.action = "t";
  request.user = "bob";
  request.commands = true;
  TableAnswers answers;
  auto arguments = ArgumentsFor(request, config, "/helpers", {}, &answers);
  ASSERT_TRUE(arguments.ok());
  EXPECT_EQ(arguments->memory, 1u << 30);
  EXPECT_EQ(arguments->descriptors, 1024u);
  EXPECT_EQ(arguments->seconds, 300u);
  config.mda_limits.max_command_memory = 5;
  config.mda_limits.max_command_descriptors = 6;
  config.mda_limits.command_timeout = 0;
  arguments = ArgumentsFor(request, config, "/helpers", {}, &answers);
  EXPECT_EQ(arguments->memory, 5u);
  EXPECT_EQ(arguments->descriptors, 6u);
  EXPECT_EQ(arguments->seconds, 0u);
}

TEST(ArgumentsFor, TheUserOptionIsTheSystems) {
  auto arguments = For("as", "vmail", "vm");
  ASSERT_TRUE(arguments.ok()) << arguments.status();
  EXPECT_FALSE(arguments->known.has_value());
  EXPECT_EQ(arguments->user, "vmail");
  EXPECT_EQ(arguments->mailbox_home, "/vmail/x:y");
  EXPECT_TRUE(absl::IsInvalidArgument(For("as", "root").status()));
}

}  // namespace
}  // namespace holdfast
