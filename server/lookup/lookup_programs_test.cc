// The room and the programs of tables: who starts them, who asks them.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <deque>
#include <map>
#include <tuple>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "config/parser.h"
#include "server/door/program_messages.h"
#include "server/lookup/lookup_room.h"
#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

class LookupProgramsTest : public ::testing::Test {
 protected:
  LookupProgramsTest() {
    ParseOptions options;
    options.path = "c.conf";
    options.server_name = "mx.test";
    const ParseResult parsed = ParseConfig(
        options,
        [](const std::string&) {
          return absl::StatusOr<std::string>(
              "table pt ldap:/etc/pt\n"
              "action here mbox virtual <pt> userbase <pt>\n"
              "action out relay host <pt> src <pt> helo-src <pt> auth <pt>\n"
              "table here file:/users\n"
              "filter f phase data match !auth <pt> reject \"550 no\"\n"
              "filter g phase data match !auth <here> reject \"550 no\"\n"
              "listen on socket\nlisten on 192.0.2.1 hostnames <pt>\n"
              "match from any for domain plain.test action out\n"
              "match from any for domain <pt> action here\n");
        },
        [](const Table&) {
          TableContents::Builder builder(TableContents::Kind::kMap);
          builder.Add("joe", "$6$secret");
          return builder.Finish();
        });
    for (const std::string& line : parsed.messages) ADD_FAILURE() << line;
    std::tie(room_parent_, parent_) = MakeDoorPair(&loop_);
    parent_->SetCallbacks(
        [this](Frame& frame) {
          EXPECT_TRUE((Dispatch<ProgramKill, TableAnswer, ForwardQuestion>(
              frame, [this](auto& message) { On(message); })));
        },
        [](absl::Status) {});
    RoomContext context{.loop = &loop_,
                        .parent = room_parent_.get(),
                        .start = nullptr,
                        .config = parsed.config,
                        .fds = {},
                        .random = random_,
                        .exit = [](int) {}};
    room_ = MakeLookupRoom(std::move(context)).value();
    room_parent_->SetCallbacks(
        [this](Frame& frame) { understood_ = room_->OnParentFrame(frame); },
        [](absl::Status) {});
  }

  void On(const ProgramKill& kill) { killed_.push_back(kill.number); }
  void On(const TableAnswer& answer) { told_ = answer; }
  void On(const ForwardQuestion& question) {
    EXPECT_EQ(question.uid, 5000u);
    if (parent_is_slow_) {
      forward_ = question.question;
      return;
    }
    ForwardAnswer answer;
    answer.question = question.question;
    answer.result = ForwardAnswer::Result::kNone;
    parent_->Send(answer);
  }

  std::unique_ptr<Door> Connect(Room peer) {
    auto [end, door] = MakeDoorPair(&loop_);
    door->SetCallbacks(
        [this](Frame& frame) {
          EXPECT_TRUE((Dispatch<ExpandAnswer, TableAnswer, RelaySecretAnswer,
                                ListenerTableAnswer, TableUpdated, SealKey>(
              frame, [this](auto& message) { Heard(message); })));
        },
        [this](absl::Status) { ++closed_; });
    NewDoor to;
    to.peer = peer;
    room_->OnDoor(to, std::move(end));
    return std::move(door);
  }
  void Heard(const ExpandAnswer& m) {
    expanded_ = m;
    refusals_[m.question] = m.refusal;
  }
  void Heard(const TableAnswer& m) { told_ = m; }
  void Heard(const RelaySecretAnswer& m) { secret_ = m.secret; }
  void Heard(const ListenerTableAnswer& m) { hostname_ = m.value; }
  void Heard(const TableUpdated& m) { updated_ = m; }
  void Heard(const SealKey&) {}

  void StartProgram(const std::string& name = "pt", int fds = 2) {
    ProgramStarted started;
    started.name = name;
    started.number = ++number_;
    std::vector<OwnedFd> theirs;
    for (int i = 0; i < fds; ++i) {
      int ends[2];
      ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
      if (i == 0) program_.Reset(ends[0]);
      if (i == 1) errors_.Reset(ends[0]);
      theirs.emplace_back(ends[1]);
    }
    parent_->Send(started, std::move(theirs));
    loop_.RunReady();
  }
  // Answers what is asked as long as there is an answer for it.
  void Serve() {
    while (true) {
      loop_.RunReady();
      char bytes[4096];
      const ssize_t n = read(program_.get(), bytes, sizeof bytes);
      if (n <= 0) return;
      heard_.append(bytes, size_t(n));
      std::string said;
      const std::vector<std::string> lines = absl::StrSplit(heard_, '\n');
      heard_ = lines.back();
      for (const std::string& line : lines) {
        if (line == "config|ready")
          for (const char* service : {"alias", "domain", "userinfo", "source",
                                      "credentials", "addrname", "ready"})
            absl::StrAppend(&said, "register|", service, "\n");
        const auto request = ParseTableRequest(line);
        if (!request.ok()) continue;
        const std::string key = absl::StrCat(
            std::string(TableOpName(request->op)), " ", request->service,
            request->key.empty() ? "" : " ", request->key);
        asked_.push_back(key);
        TableReply reply;
        reply.op = request->op;
        reply.id = request->id;
        const auto entry = entries_.find(key);
        reply.result = entry != entries_.end() ? TableReply::Result::kFound
                                               : TableReply::Result::kNotFound;
        if (entry != entries_.end()) reply.text = entry->second;
        if (request->op == TableOp::kUpdate) {
          reply.result = TableReply::Result::kError;
          reply.text = "no file";
        }
        absl::StrAppend(&said, TableReplyLine(reply));
      }
      EXPECT_EQ(write(program_.get(), said.data(), said.size()),
                static_cast<ssize_t>(said.size()));
    }
  }

  static void Expand(Door* door, uint64_t question, const std::string& rcpt) {
    ExpandRequest expand;
    expand.question = question;
    expand.sockaddr = "203.0.113.9";
    expand.rcpt = SplitAddress(rcpt);
    door->Send(expand);
  }

  FakeEventLoop loop_;
  absl::BitGen random_;
  std::unique_ptr<Door> room_parent_, parent_;
  std::unique_ptr<RoomHandler> room_;
  OwnedFd program_, errors_;
  uint64_t number_ = 0;
  bool understood_ = true;
  int closed_ = 0;
  std::vector<uint64_t> killed_;
  std::map<std::string, std::string> entries_;
  std::vector<std::string> asked_;
  std::string heard_;  // by the program, not yet a whole line
  bool parent_is_slow_ = false;
  uint64_t forward_ = 0;  // what it is asked then
  ExpandAnswer expanded_;
  std::map<uint64_t, std::string> refusals_;  // all of these, by question
  TableAnswer told_;
  std::string secret_, hostname_;
  TableUpdated updated_;
};

TEST_F(LookupProgramsTest, EverybodyIsAnswered) {
  entries_ = {{"check domain a.test", ""},
              {"lookup alias info@a.test", "joe"},
              {"lookup userinfo joe", "5000:5000:/home/joe"},
              {"lookup credentials lab", "me:Secret"},
              {"lookup addrname 192.0.2.1", "named.test"},
              {"fetch source", "192.0.2.7"}};
  const auto receive = Connect(Room::kReceive);
  const auto relay = Connect(Room::kRelay);
  ExpandRequest expand;
  expand.sockaddr = "203.0.113.9";
  expand.rcpt = SplitAddress("Info@A.test");
  receive->Send(expand);
  ListenerTableQuestion hostname;
  hostname.listener = 0;
  hostname.table = ListenerTableQuestion::Table::kHostnames;
  hostname.key = "192.0.2.1";
  receive->Send(hostname);
  RelaySecretQuestion secret;
  secret.action = "out";
  secret.label = "lab";
  relay->Send(secret);
  TableQuestion source;
  source.question = 9;
  source.table = "pt";
  source.op = TableQuestion::Op::kFetch;
  source.service = TableService::kSource;
  relay->Send(source);
  loop_.RunReady();
  // All of it before there is a program.
  EXPECT_EQ(secret_, "");
  StartProgram();
  Serve();
  EXPECT_EQ(expanded_.refusal, "");
  ASSERT_EQ(expanded_.recipients.size(), 1u);
  EXPECT_EQ(expanded_.recipients[0].mda_user, "joe");
  EXPECT_EQ(hostname_, "named.test");
  EXPECT_EQ(secret_, "Secret");
  EXPECT_EQ(told_.question, 9u);
  EXPECT_EQ(told_.value, "192.0.2.7");
}

TEST_F(LookupProgramsTest, ParentAsksForUsersAndRelayDoesNot) {
  entries_ = {{"lookup userinfo joe", "5000:5000:/home/joe"}};
  StartProgram();
  Serve();
  TableQuestion user;
  user.question = 3;
  user.table = "pt";
  user.op = TableQuestion::Op::kLookup;
  user.service = TableService::kUserinfo;
  user.key = "joe";
  parent_->Send(user);
  Serve();
  EXPECT_EQ(told_.value, "5000:5000:/home/joe");
  asked_.clear();
  const auto relay = Connect(Room::kRelay);
  user.question = 4;
  relay->Send(user);
  user.question = 5;
  user.service = TableService::kCredentials;
  relay->Send(user);
  Serve();
  EXPECT_EQ(told_.question, 5u);
  EXPECT_EQ(told_.result, TableAnswer::Result::kError);
  EXPECT_TRUE(asked_.empty());
  EXPECT_EQ(closed_, 0);
}

constexpr uint64_t kPlain = 100000;
constexpr uint64_t kFurther = 200000;

// It says nothing: who does not need it is answered.
TEST_F(LookupProgramsTest, ASilentProgramDoesNotStopTheDoor) {
  const auto receive = Connect(Room::kReceive);
  for (uint64_t i = 0; i < kMaxExpansionsAtProgram; ++i)
    Expand(receive.get(), i, "x@a.test");
  Expand(receive.get(), kPlain, "x@plain.test");
  loop_.RunReady();
  EXPECT_EQ(refusals_, (std::map<uint64_t, std::string>{{kPlain, ""}}));
  testing::internal::CaptureStderr();
  Expand(receive.get(), kFurther, "x@a.test");
  Expand(receive.get(), kFurther + 1, "x@a.test");
  Expand(receive.get(), kPlain, "x@plain.test");
  loop_.RunReady();
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "warn: table-proc: pt: too many recipients wait for it\n");
  EXPECT_EQ(refusals_.size(), 3u);
  EXPECT_EQ(refusals_[kFurther], "451 Temporary failure");
  EXPECT_EQ(refusals_[kFurther + 1], "451 Temporary failure");
  // Once these are given up, others may wait for it.
  loop_.Advance(TableCare().timeout);
  EXPECT_EQ(refusals_.size(), kMaxExpansionsAtProgram + 3);
  Expand(receive.get(), kFurther + 2, "x@a.test");
  loop_.RunReady();
  EXPECT_EQ(refusals_.count(kFurther + 2), 0u);
}

TEST_F(LookupProgramsTest, WhoseAskerHasGoneStillWaitsAtTheProgram) {
  auto receive = Connect(Room::kReceive);
  for (uint64_t i = 0; i < kMaxExpansionsAtProgram; ++i)
    Expand(receive.get(), i, "x@a.test");
  loop_.RunReady();
  receive = Connect(Room::kReceive);
  Expand(receive.get(), kFurther, "x@a.test");
  loop_.RunReady();
  EXPECT_EQ(refusals_[kFurther], "451 Temporary failure");
  loop_.Advance(TableCare().timeout);
  EXPECT_EQ(refusals_.size(), 1u);
  Expand(receive.get(), kFurther + 1, "x@a.test");
  loop_.RunReady();
  EXPECT_EQ(refusals_.size(), 1u);
}

// What comes back from the program counts as open again.
TEST_F(LookupProgramsTest, WhatWaitsForOthersStopsTheDoor) {
  entries_ = {{"check domain a.test", ""},
              {"lookup alias info@a.test", "joe"},
              {"lookup userinfo joe", "5000:5000:/home/joe"}};
  parent_is_slow_ = true;
  StartProgram();
  Serve();
  const auto receive = Connect(Room::kReceive);
  for (uint64_t i = 0; i < kMaxOpenExpansions; ++i)
    Expand(receive.get(), i, "info@a.test");
  Serve();
  EXPECT_TRUE(killed_.empty());
  Expand(receive.get(), kPlain, "x@plain.test");
  loop_.RunReady();
  EXPECT_TRUE(refusals_.empty());
  ForwardAnswer answer;
  answer.question = forward_;
  answer.result = ForwardAnswer::Result::kNone;
  parent_->Send(answer);
  loop_.RunReady();
  EXPECT_EQ(refusals_.size(), kMaxOpenExpansions + 1);
  EXPECT_EQ(refusals_[7], "");
}

// As `match auth` of a builtin filter asks (server/filters/builtin_link.cc): by
// names, which this program does not offer, then by credentials.
TEST_F(LookupProgramsTest, AFilterLearnsWhoIsAUserOfAProgram) {
  using Result = TableAnswer::Result;
  entries_ = {{"check credentials joe", ""}};
  StartProgram();
  Serve();
  const auto filters = Connect(Room::kFilters);
  const struct {
    const char* table;
    TableService service;
    const char* key;
    Result result;
  } cases[] = {
      {"pt", TableService::kString, "joe", Result::kNotOffered},
      {"pt", TableService::kCredentials, "joe", Result::kFound},
      {"pt", TableService::kCredentials, "ann", Result::kNotFound},
      {"pt", TableService::kAuth, "joe:secret", Result::kError},
      {"here", TableService::kString, "Joe", Result::kFound},
      {"here", TableService::kString, "ann", Result::kNotFound},
  };
  uint64_t number = 0;
  for (const auto& one : cases) {
    TableQuestion question;
    question.question = ++number;
    question.table = one.table;
    question.service = one.service;
    question.key = one.key;
    filters->Send(question);
    Serve();
    EXPECT_EQ(told_.question, number);
    EXPECT_EQ(told_.result, one.result) << one.table << " " << one.key;
    EXPECT_EQ(told_.value, "");
  }
  EXPECT_EQ(closed_, 0);
}

TEST_F(LookupProgramsTest, WhoHasNoQuestionsAboutTablesIsShownTheDoor) {
  for (const Room room : {Room::kReceive, Room::kDeliver}) {
    closed_ = 0;
    const auto peer = Connect(room);
    peer->Send(TableQuestion());
    loop_.RunReady();
    EXPECT_EQ(closed_, 1);
  }
}

TEST_F(LookupProgramsTest, AFilterAsksForNothingElse) {
  const auto filters = Connect(Room::kFilters);
  filters->Send(ExpandRequest());
  loop_.RunReady();
  EXPECT_EQ(closed_, 1);
}

TEST_F(LookupProgramsTest, UpdatesGoToTheProgram) {
  StartProgram();
  Serve();
  const auto queue = Connect(Room::kQueue);
  UpdateTable update;
  update.question = 7;
  update.name = "pt";
  queue->Send(update);
  Serve();
  EXPECT_EQ(updated_.question, 7u);
  EXPECT_FALSE(updated_.ok);
  EXPECT_EQ(updated_.error, "no file");
}

TEST_F(LookupProgramsTest, BrokenOnesAreKilledAndReplaced) {
  StartProgram();
  const std::string garbage = "nonsense\n";
  EXPECT_GT(write(program_.get(), garbage.data(), garbage.size()), 0);
  loop_.RunReady();
  EXPECT_EQ(killed_, std::vector<uint64_t>{1});
  ProgramEnded ended;
  ended.name = "pt";
  ended.number = 1;
  parent_->Send(ended);
  loop_.RunReady();
  EXPECT_TRUE(understood_);
  StartProgram();
  Serve();
  entries_["check domain a.test"] = "";
  const auto receive = Connect(Room::kReceive);
  ExpandRequest expand;
  expand.sockaddr = "203.0.113.9";
  expand.rcpt = SplitAddress("x@a.test");
  receive->Send(expand);
  Serve();
  EXPECT_EQ(expanded_.refusal, "524 5.2.4 Mailing list expansion problem");
}

TEST_F(LookupProgramsTest, ParentMustMakeSense) {
  StartProgram("nowhere");
  EXPECT_FALSE(understood_);
  understood_ = true;
  StartProgram("pt", 1);
  EXPECT_FALSE(understood_);
}

}  // namespace
}  // namespace holdfast
