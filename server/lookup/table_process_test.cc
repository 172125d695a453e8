#include "server/lookup/table_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <deque>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/log/log.h"
#include "server/loop/fake_event_loop.h"
#include "storage/owned_fd.h"

namespace holdfast {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kGreeting[] =
    "config|smtpd-version|7.8.0-portable\nconfig|protocol|0.1\n"
    "config|tablename|pt\nconfig|ready\n";
constexpr char kReady[] =
    "register|alias\nregister|string\nregister|source\nregister|credentials\n"
    "register|ready\n";

class TableProcessTest : public testing::Test {
 protected:
  explicit TableProcessTest(absl::Duration keep = absl::ZeroDuration()) {
    TableProcess::Setup setup;
    setup.loop = &loop_;
    setup.name = "pt";
    setup.care.keep = keep;
    setup.random = [this] { return next_id_++; };
    setup.kill = [this](uint64_t number) { killed_.push_back(number); };
    process_ = std::make_unique<TableProcess>(std::move(setup));
    testing::internal::CaptureStderr();
  }
  ~TableProcessTest() override {
    if (!log_taken_) TakeLog();
  }

  // A program starts; what it does is the test's.
  void Start() {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    program_.Reset(ends[0]);
    process_->OnStarted(++number_, MakeStream(&loop_, ends[1]));
    loop_.RunReady();
  }
  void StartReady() {
    Start();
    EXPECT_EQ(Heard(), kGreeting);
    Say(kReady);
  }
  void Die() {
    program_.Reset();
    loop_.RunReady();
    process_->OnEnded(number_);
    loop_.RunReady();
  }
  void Say(absl::string_view text) {
    EXPECT_EQ(write(program_.get(), text.data(), text.size()),
              static_cast<ssize_t>(text.size()));
    loop_.RunReady();
  }
  // What the program has got since then.
  std::string Heard() {
    loop_.RunReady();
    std::string all;
    char bytes[4096];
    ssize_t n;
    while ((n = read(program_.get(), bytes, sizeof bytes)) > 0)
      all.append(bytes, static_cast<size_t>(n));
    return all;
  }
  // The same without protocol, time and name: "check|string|00000001|k\n".
  std::string Asked() {
    std::string out;
    for (const absl::string_view line : absl::StrSplit(Heard(), '\n')) {
      if (line.empty()) continue;
      EXPECT_TRUE(absl::StartsWith(line, "table|0.1|1795324"));
      out += std::string(line.substr(line.find("|pt|") + 4)) + "\n";
    }
    return out;
  }

  // What is answered is told in answers_: "name: value".
  void Ask(const std::string& name, TableOp op, TableService service,
           const std::string& key) {
    TableQuery query;
    query.table = "pt";
    query.op = op;
    query.service = service;
    query.key = key;
    process_->Ask(std::move(query), [this, name](TableResult result) {
      const std::string text =
          !result.ok()
              ? absl::StrCat("! ", std::string(result.status().message()))
          : result->has_value() ? absl::StrCat("= ", **result)
                                : "none";
      answers_.push_back(absl::StrCat(name, ": ", text));
    });
  }
  void AskAlias(const std::string& key) {
    Ask(key, TableOp::kLookup, TableService::kAlias, key);
  }
  std::vector<std::string> Answers() {
    loop_.RunReady();
    return std::exchange(answers_, {});
  }
  std::string TakeLog() {
    log_taken_ = true;
    FlushLog();
    return testing::internal::GetCapturedStderr();
  }

  FakeEventLoop loop_;
  OwnedFd program_;
  uint64_t number_ = 0;
  uint32_t next_id_ = 1;
  bool log_taken_ = false;
  std::vector<uint64_t> killed_;
  std::vector<std::string> answers_;
  std::unique_ptr<TableProcess> process_;
};

class KeepingTableProcessTest : public TableProcessTest {
 protected:
  KeepingTableProcessTest() : TableProcessTest(absl::Hours(1)) {}
};

using Strings = std::vector<std::string>;

TEST_F(TableProcessTest, AnswersInAnyOrder) {
  StartReady();
  AskAlias("a");
  Ask("b", TableOp::kCheck, TableService::kString, "b|b");
  Ask("c", TableOp::kFetch, TableService::kSource, "");
  EXPECT_EQ(Asked(),
            "lookup|alias|00000001|a\ncheck|string|00000002|b|b\n"
            "fetch|source|00000003\n");
  Say("fetch-result|00000003|found|192.0.2.1\n");
  EXPECT_EQ(Answers(), Strings{"c: = 192.0.2.1"});
  Say("check-result|00000002|not-found\nlookup-result|00000001|fo");
  EXPECT_EQ(Answers(), Strings{"b: none"});
  Say("und|joe, ann\n");
  EXPECT_EQ(Answers(), Strings{"a: = joe, ann"});
  EXPECT_EQ(process_->open(), 0u);
  EXPECT_THAT(killed_, IsEmpty());
  EXPECT_EQ(TakeLog(), "");
}

TEST_F(TableProcessTest, QuestionsWaitForTheGreeting) {
  AskAlias("early");
  EXPECT_THAT(Answers(), IsEmpty());
  Start();
  EXPECT_EQ(Heard(), kGreeting);
  Say("register|alias\n");
  EXPECT_EQ(Heard(), "");
  Say("register|ready\n");
  EXPECT_EQ(Asked(), "lookup|alias|00000001|early\n");
  Say("lookup-result|00000001|found|x\n");
  EXPECT_EQ(Answers(), Strings{"early: = x"});
}

TEST_F(TableProcessTest, WhatItDoesNotOfferIsNotAsked) {
  StartReady();
  Ask("d", TableOp::kCheck, TableService::kDomain, "d");
  Ask("auth", TableOp::kCheck, TableService::kAuth, "joe:secret");
  EXPECT_EQ(Answers(), (Strings{"d: ! it does not offer domain",
                                "auth: ! it does not offer auth"}));
  EXPECT_EQ(Heard(), "");
  // Of auth nothing: it is found out in this way whether there is any.
  EXPECT_EQ(TakeLog(),
            "warn: table-proc: pt check failed: it does not offer domain\n");
}

TEST_F(TableProcessTest, KeysOfTwoLinesAreNotSent) {
  StartReady();
  AskAlias("a\nregister|ready");
  EXPECT_EQ(Answers(), Strings{"a\nregister|ready: ! key with CR, LF or NUL"});
  EXPECT_EQ(Heard(), "");
}

TEST_F(TableProcessTest, ErrorsAreLogged) {
  StartReady();
  AskAlias("a");
  Say("lookup-result|00000001|error|database \x1b is gone\n");
  EXPECT_EQ(Answers(), Strings{"a: ! database \x1b is gone"});
  EXPECT_THAT(killed_, IsEmpty());
  EXPECT_EQ(TakeLog(),
            "warn: table-proc: pt lookup failed: database \\^[ is gone\n");
}

TEST_F(TableProcessTest, UpdateNeedsNoService) {
  StartReady();
  Ask("u", TableOp::kUpdate, TableService::kNone, "");
  EXPECT_EQ(Asked(), "update|00000001\n");
  Say("update-result|00000001|ok\n");
  EXPECT_EQ(Answers(), Strings{"u: = "});
}

// ---- programs that are broken

struct Garbage {
  const char* name;
  const char* said;
  const char* why;
};

class GarbageTest : public TableProcessTest,
                    public testing::WithParamInterface<Garbage> {};

TEST_P(GarbageTest, IsKilledAndTheNextOneIsAsked) {
  StartReady();
  AskAlias("a");
  Asked();
  Say(GetParam().said);
  EXPECT_THAT(Answers(), IsEmpty());
  EXPECT_EQ(killed_, std::vector<uint64_t>{1});
  process_->OnEnded(1);
  StartReady();
  EXPECT_EQ(Asked(), "lookup|alias|00000002|a\n");
  // Once, and no more.
  Say(GetParam().said);
  EXPECT_EQ(Answers(), Strings{"a: ! the program is gone"});
  EXPECT_EQ(killed_, (std::vector<uint64_t>{1, 2}));
  const std::string line = absl::StrCat(
      "warn: table-proc: pt failed: ", GetParam().why, ": it is killed\n");
  EXPECT_EQ(TakeLog(),
            absl::StrCat(line, line,
                         "warn: table-proc: pt lookup failed: the program is "
                         "gone\n"));
}

INSTANTIATE_TEST_SUITE_P(
    All, GarbageTest,
    testing::Values(Garbage{"Words", "hello\n",
                            "failed to parse reply: not an answer"},
                    Garbage{"WrongId", "lookup-result|0000abcd|found|x\n",
                            "answers what it was not asked"},
                    Garbage{"WrongOperation", "check-result|0000000X|found\n",
                            "failed to parse reply: not an identifier"},
                    Garbage{"EmptyValue", "lookup-result|00000001|found|\n",
                            "failed to parse reply: empty value"},
                    Garbage{"Registration", "register|alias\n",
                            "failed to parse reply: not an answer"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(TableProcessTest, AnswerToAnotherOperationKills) {
  StartReady();
  AskAlias("a");
  Say("check-result|00000001|found\n");
  EXPECT_EQ(killed_, std::vector<uint64_t>{1});
  EXPECT_THAT(Answers(), IsEmpty());
}

TEST_F(TableProcessTest, EndlessLineKills) {
  StartReady();
  for (size_t sent = 0; sent <= kMaxTableLine; sent += 4096)
    Say(std::string(4096, 'x'));
  EXPECT_EQ(killed_, std::vector<uint64_t>{1});
  EXPECT_THAT(TakeLog(), HasSubstr("line too long"));
}

TEST_F(TableProcessTest, BadGreetingsKill) {
  uint64_t number = 0;
  for (const char* said : {"register|guess\n", "hello\n", "register|ready\n"}) {
    Start();
    Say(said);
    ASSERT_EQ(killed_.size(), ++number) << said;
  }
  Start();
  loop_.Advance(kTableGreetingTimeout);
  EXPECT_EQ(killed_.size(), ++number);
  EXPECT_EQ(TakeLog(),
            "warn: table-proc: pt failed: unknown service: it is killed\n"
            "warn: table-proc: pt failed: not a registration: it is killed\n"
            "warn: table-proc: pt failed: it offers nothing: it is killed\n"
            "warn: table-proc: pt failed: it does not say what it offers: it "
            "is killed\n");
}

TEST_F(TableProcessTest, OneThatHangsIsKilled) {
  StartReady();
  AskAlias("a");
  loop_.Advance(absl::Milliseconds(4999));
  EXPECT_THAT(Answers(), IsEmpty());
  loop_.Advance(absl::Milliseconds(1));
  EXPECT_EQ(Answers(), Strings{"a: ! no answer within 5s"});
  EXPECT_EQ(killed_, std::vector<uint64_t>{1});
  EXPECT_EQ(TakeLog(),
            "warn: table-proc: pt lookup failed: no answer within 5s\n"
            "warn: table-proc: pt failed: it does not answer: it is killed\n");
}

// One slow question is no reason to lose the others.
TEST_F(TableProcessTest, OneThatIsSlowIsNot) {
  StartReady();
  AskAlias("slow");
  AskAlias("quick");
  loop_.Advance(absl::Seconds(1));
  Say("lookup-result|00000002|found|x\n");
  loop_.Advance(absl::Seconds(4));
  EXPECT_EQ(Answers(), (Strings{"quick: = x", "slow: ! no answer within 5s"}));
  EXPECT_THAT(killed_, IsEmpty());
  // Its late answer is nobody's.
  Say("lookup-result|00000001|found|late\n");
  EXPECT_THAT(Answers(), IsEmpty());
  EXPECT_THAT(killed_, IsEmpty());
  // A second time it is.
  Say("lookup-result|00000001|found|late\n");
  EXPECT_EQ(killed_, std::vector<uint64_t>{1});
}

// One that cannot keep up gets no more than it can hold, whether anybody still
// waits for its answers or not.
TEST_F(TableProcessTest, LateAnswersAreOwedStill) {
  StartReady();
  for (size_t i = 0; i < kMaxSentTableQuestions; ++i) AskAlias("early");
  loop_.Advance(absl::Seconds(4));
  Say("lookup-result|00000001|found|x\n");
  loop_.Advance(absl::Seconds(1));
  EXPECT_EQ(Answers().size(), kMaxSentTableQuestions);
  Heard();
  AskAlias("b");
  AskAlias("c");
  const std::string id =
      absl::StrCat(absl::Hex(kMaxSentTableQuestions + 1, absl::kZeroPad8));
  EXPECT_EQ(Asked(), absl::StrCat("lookup|alias|", id, "|b\n"));
  loop_.Advance(absl::Seconds(3));
  EXPECT_EQ(Asked(), "");
  Say("lookup-result|00000002|found|late\n");
  EXPECT_THAT(Asked(), HasSubstr("|c\n"));
  EXPECT_THAT(killed_, IsEmpty());
}

TEST_F(TableProcessTest, WhatWaitedTooLongIsNotSent) {
  StartReady();
  for (size_t i = 0; i < kMaxSentTableQuestions; ++i) AskAlias("early");
  AskAlias("waits");
  loop_.Advance(absl::Seconds(4));
  Say("lookup-result|0000");
  loop_.Advance(absl::Seconds(1));
  EXPECT_THAT(Answers(), testing::Contains("waits: ! it is too busy"));
  Heard();
  AskAlias("next");
  EXPECT_EQ(Asked(), "");
  Say("0001|found|late\n");
  EXPECT_THAT(Asked(), testing::EndsWith("|next\n"));
  EXPECT_THAT(killed_, IsEmpty());
}

// Also when only questions that it was never given wait for it.
TEST_F(TableProcessTest, OneThatStopsWhileItOwesIsKilled) {
  StartReady();
  for (size_t i = 0; i <= kMaxSentTableQuestions; ++i) AskAlias("early");
  loop_.Advance(absl::Seconds(4));
  Say("lookup-result|00000001|found|x\n");
  loop_.Advance(absl::Seconds(1));
  AskAlias("waits");
  EXPECT_THAT(killed_, IsEmpty());
  loop_.Advance(absl::Seconds(5));
  EXPECT_EQ(killed_, std::vector<uint64_t>{1});
  EXPECT_THAT(Answers(), testing::Contains("waits: ! it is too busy"));
}

TEST_F(TableProcessTest, TheTimeIsThatOfTheQuestion) {
  AskAlias("a");
  loop_.Advance(absl::Seconds(3));
  loop_.JumpWallClock(absl::Seconds(100));
  Start();
  Heard();
  Say(kReady);
  EXPECT_EQ(Heard(),
            "table|0.1|1795324100.000000|pt|lookup|alias|00000001|a\n");
}

// Ten answers in a second, fifteen questions: most are answered, for ever.
TEST_F(TableProcessTest, TooManyQuestionsDoNotStopTheAnswers) {
  StartReady();
  std::deque<std::pair<int64_t, std::string>> has;  // asked at, id
  size_t answered = 0;
  for (int tick = 0; tick < 600; ++tick) {
    AskAlias("a");
    if (tick % 2 == 0) AskAlias("b");
    for (const absl::string_view line : absl::StrSplit(Heard(), '\n')) {
      const std::vector<std::string> words = absl::StrSplit(line, '|');
      if (words.size() > 6) has.emplace_back(std::stoll(words[2]), words[6]);
    }
    EXPECT_LE(has.size(), kMaxSentTableQuestions);
    std::string said;
    const int64_t now = absl::ToUnixSeconds(loop_.Now());
    for (; !has.empty() && has.front().first < now - 4; has.pop_front())
      said += "lookup-result|" + has.front().second + "|error|too late\n";
    if (!has.empty()) {
      said += "lookup-result|" + has.front().second + "|found|x\n";
      has.pop_front();
    }
    Say(said);
    loop_.Advance(absl::Milliseconds(100));
    for (const std::string& answer : Answers())
      answered += tick >= 300 && absl::EndsWith(answer, "= x");
  }
  EXPECT_GE(answered, 250u);
  EXPECT_THAT(killed_, IsEmpty());
}

TEST_F(TableProcessTest, DyingAtEachQuestionIsAnError) {
  StartReady();
  AskAlias("a");
  Die();
  EXPECT_THAT(Answers(), IsEmpty());
  StartReady();
  EXPECT_EQ(Asked(), "lookup|alias|00000002|a\n");
  Die();
  EXPECT_EQ(Answers(), Strings{"a: ! the program is gone"});
}

TEST_F(TableProcessTest, WithoutAProgramQuestionsTimeOut) {
  AskAlias("a");
  loop_.Advance(absl::Seconds(5));
  EXPECT_EQ(Answers(), Strings{"a: ! the program is not ready"});
}

TEST_F(TableProcessTest, LateNewsOfAnOldOneChangeNothing) {
  StartReady();
  StartReady();
  process_->OnEnded(1);
  AskAlias("a");
  EXPECT_EQ(Asked(), "lookup|alias|00000001|a\n");
}

TEST_F(TableProcessTest, QuestionsAreBounded) {
  StartReady();
  for (size_t i = 0; i <= kMaxOpenTableQuestions; ++i)
    AskAlias(absl::StrCat(i));
  EXPECT_EQ(Answers(),
            Strings{absl::StrCat(kMaxOpenTableQuestions,
                                 ": ! too many questions are open")});
  const std::vector<std::string> sent = absl::StrSplit(Asked(), '\n');
  EXPECT_EQ(sent.size(), kMaxSentTableQuestions + 1);
  Say("lookup-result|00000001|not-found\n");
  EXPECT_EQ(Asked(),
            absl::StrCat("lookup|alias|",
                         absl::Hex(kMaxSentTableQuestions + 1, absl::kZeroPad8),
                         "|", kMaxSentTableQuestions, "\n"));
}

TEST_F(TableProcessTest, LogLinesAreBounded) {
  StartReady();
  for (int i = 0; i < kMaxTableWarnings + 5; ++i)
    Ask("d", TableOp::kCheck, TableService::kDomain, "d");
  EXPECT_EQ(Answers().size(), kMaxTableWarnings + 5u);
  loop_.Advance(absl::Minutes(1));
  Ask("d", TableOp::kCheck, TableService::kDomain, "d");
  const std::vector<std::string> lines = absl::StrSplit(TakeLog(), '\n');
  ASSERT_EQ(lines.size(), kMaxTableWarnings + 3u);
  EXPECT_EQ(lines[kMaxTableWarnings], "warn: table-proc: pt: 5 more failures");
}

// ---- what was said last

TEST_F(KeepingTableProcessTest, IsUsedWhileThereIsNone) {
  StartReady();
  AskAlias("a");
  AskAlias("b");
  Say("lookup-result|00000001|found|x\nlookup-result|00000002|not-found\n");
  EXPECT_EQ(Answers(), (Strings{"a: = x", "b: none"}));
  Die();
  AskAlias("a");
  AskAlias("b");
  AskAlias("c");
  EXPECT_EQ(Answers(), (Strings{"a: = x", "b: none"}));
  loop_.Advance(absl::Seconds(5));
  EXPECT_EQ(Answers(), Strings{"c: ! the program is not ready"});
  StartReady();
  // One that runs is asked.
  AskAlias("a");
  EXPECT_EQ(Asked(), "lookup|alias|00000003|a\n");
  Say("lookup-result|00000003|found|y\n");
  EXPECT_EQ(Answers(), Strings{"a: = y"});
  const std::string log = TakeLog();
  EXPECT_THAT(log, HasSubstr("info: table-proc: pt does not answer: what it "
                             "said in the last 1h is used\n"));
  EXPECT_THAT(log, HasSubstr("info: table-proc: pt answers again\n"));
}

TEST_F(KeepingTableProcessTest, IsUsedWhenItFails) {
  StartReady();
  AskAlias("a");
  Say("lookup-result|00000001|found|x\n");
  AskAlias("a");
  Say("lookup-result|00000002|error|gone\n");
  AskAlias("a");
  loop_.Advance(absl::Seconds(5));
  EXPECT_EQ(Answers(), (Strings{"a: = x", "a: = x", "a: = x"}));
  EXPECT_EQ(killed_, std::vector<uint64_t>{1});
}

TEST_F(KeepingTableProcessTest, IsForgotten) {
  StartReady();
  AskAlias("a");
  Say("lookup-result|00000001|found|x\n");
  Ask("u", TableOp::kUpdate, TableService::kNone, "");
  Say("update-result|00000002|ok\n");
  AskAlias("a");
  Say("lookup-result|00000003|error\n");
  EXPECT_EQ(Answers(), (Strings{"a: = x", "u: = ", "a: ! error"}));
  AskAlias("a");
  Say("lookup-result|00000004|found|y\n");
  loop_.Advance(absl::Hours(1));
  AskAlias("a");
  Say("lookup-result|00000005|error\n");
  EXPECT_EQ(Answers(), (Strings{"a: = y", "a: ! error"}));
}

// Who has lost an account must not get in because a database is down.
TEST_F(KeepingTableProcessTest, PasswordsAreNotKept) {
  StartReady();
  Ask("p", TableOp::kLookup, TableService::kCredentials, "joe");
  Say("lookup-result|00000001|found|joe:hash\n");
  Ask("p", TableOp::kLookup, TableService::kCredentials, "joe");
  Say("lookup-result|00000002|error\n");
  EXPECT_EQ(Answers(), (Strings{"p: = joe:hash", "p: ! error"}));
}

TEST(KeptAnswersTest, AreBounded) {
  KeptAnswers kept(absl::Hours(1));
  TableQuery query;
  query.op = TableOp::kLookup;
  query.service = TableService::kAlias;
  const auto put = [&](int i, size_t size) {
    query.key = absl::StrCat(i);
    kept.Put(query, std::string(size, 'v'), absl::Seconds(i));
  };
  for (size_t i = 0; i < kMaxKeptAnswers + 10; ++i) put(0, 1);
  EXPECT_EQ(kept.size(), 1u);
  for (size_t i = 0; i < kMaxKeptAnswers + 10; ++i) {
    query.key = absl::StrCat("k", i);
    kept.Put(query, std::nullopt, absl::ZeroDuration());
  }
  EXPECT_EQ(kept.size(), kMaxKeptAnswers);
  query.key = "k0";
  EXPECT_EQ(kept.Get(query, absl::ZeroDuration()), nullptr);
  query.key = absl::StrCat("k", kMaxKeptAnswers);
  EXPECT_NE(kept.Get(query, absl::ZeroDuration()), nullptr);
  for (int i = 0; i < 40; ++i) put(i, 1 << 20);
  EXPECT_LE(kept.size(), kMaxKeptBytes >> 20);
  EXPECT_GE(kept.size(), 10u);
  put(1, kMaxKeptBytes + 1);
  EXPECT_EQ(kept.size(), 0u);
}

}  // namespace
}  // namespace holdfast
