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
    const ParseResult parsed = ParseConfig(options, [](const std::string&) {
      return absl::StatusOr<std::string>(
          "table pt ldap:/etc/pt\n"
          "action here mbox virtual <pt> userbase <pt>\n"
          "action out relay host <pt> src <pt> helo-src <pt> auth <pt>\n"
          "listen on socket\nlisten on 192.0.2.1 hostnames <pt>\n"
          "match from any for domain <pt> action here\n");
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
  void Heard(const ExpandAnswer& m) { expanded_ = m; }
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
      std::string said;
      for (const absl::string_view line :
           absl::StrSplit(absl::string_view(bytes, size_t(n)), '\n')) {
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
        reply.result = entries_.count(key) != 0 ? TableReply::Result::kFound
                                                : TableReply::Result::kNotFound;
        reply.text = entries_[key];
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
  ExpandAnswer expanded_;
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
