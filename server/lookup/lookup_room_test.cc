#include "server/lookup/lookup_room.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "absl/random/random.h"
#include "config/parser.h"
#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

// The other ends of the room's doors.
class LookupRoomTest : public ::testing::Test {
 protected:
  LookupRoomTest() {
    ParseOptions options;
    options.path = "c.conf";
    options.server_name = "mx.test";
    const ParseResult parsed = ParseConfig(options, [](const std::string&) {
      return absl::StatusOr<std::string>(
          "action \"local\" mbox\naction out relay\n"
          "table secrets { lab = \"joe:secret\" }\n"
          "action smart relay host smtps://lab@smart.test auth <secrets>\n"
          "match from any for domain mx.test action \"local\"\n"
          "match from any for domain far.test action out\n");
    });
    std::tie(room_parent_, parent_) = MakeDoorPair(&loop_);
    parent_->SetCallbacks(
        [this](Frame& frame) {
          EXPECT_TRUE(
              Dispatch<UserQuestion>(
                  frame, [this](UserQuestion& q) { users_.push_back(q); }) ||
              Dispatch<UpdateTable>(
                  frame, [this](UpdateTable& u) { asked_.push_back(u); }) ||
              Dispatch<ForwardQuestion>(frame, [this](ForwardQuestion& q) {
                forwards_.push_back(q);
              }));
        },
        [](absl::Status) {});
    RoomContext context{.loop = &loop_,
                        .parent = room_parent_.get(),
                        .start = nullptr,
                        .config = parsed.config,
                        .fds = {},
                        .random = random_,
                        .exit = [this](int status) { exited_ = status; }};
    room_ = MakeLookupRoom(std::move(context)).value();
    room_parent_->SetCallbacks(
        [this](Frame& frame) { EXPECT_TRUE(room_->OnParentFrame(frame)); },
        [](absl::Status) {});
  }

  struct Asker {
    std::unique_ptr<Door> door;
    std::map<uint64_t, ExpandAnswer> answers;
    std::map<uint64_t, ExplainAnswer> explanations;
    std::string seal_key;
    std::map<uint64_t, TableUpdated> updated;
    std::map<uint64_t, RelaySecretAnswer> secrets;
    bool closed = false;
  };

  std::unique_ptr<Asker> Connect(Room peer) {
    auto asker = std::make_unique<Asker>();
    std::unique_ptr<Door> end;
    std::tie(end, asker->door) = MakeDoorPair(&loop_);
    asker->door->SetCallbacks(
        [asker = asker.get()](Frame& frame) {
          EXPECT_TRUE(
              Dispatch<ExpandAnswer>(frame,
                                     [&](ExpandAnswer& answer) {
                                       asker->answers[answer.question] = answer;
                                     }) ||
              Dispatch<TableUpdated>(frame,
                                     [&](TableUpdated& answer) {
                                       asker->updated[answer.question] = answer;
                                     }) ||
              Dispatch<RelaySecretAnswer>(frame,
                                          [&](RelaySecretAnswer& answer) {
                                            asker->secrets[answer.question] =
                                                answer;
                                          }) ||
              Dispatch<SealKey>(frame,
                                [&](SealKey& m) { asker->seal_key = m.key; }) ||
              Dispatch<ExplainAnswer>(frame, [&](ExplainAnswer& answer) {
                asker->explanations[answer.question] = answer;
              }));
        },
        [asker = asker.get()](absl::Status) { asker->closed = true; });
    NewDoor to;
    to.peer = peer;
    room_->OnDoor(to, std::move(end));
    return asker;
  }

  void Ask(Asker* asker, uint64_t question, const std::string& rcpt) {
    ExpandRequest request;
    request.question = question;
    request.sockaddr = "203.0.113.9";
    request.rcpt = SplitAddress(rcpt);
    asker->door->Send(request);
    loop_.RunReady();
  }

  void AnswerUser(size_t at, UserAnswer::Result result) {
    UserAnswer answer;
    answer.question = users_.at(at).question;
    answer.result = result;
    parent_->Send(answer);
    loop_.RunReady();
  }

  void AnswerForward(size_t at, ForwardAnswer::Result result,
                     const std::string& contents = "") {
    ForwardAnswer answer;
    answer.question = forwards_.at(at).question;
    answer.result = result;
    answer.contents = contents;
    answer.uid = 1000;
    parent_->Send(answer);
    loop_.RunReady();
  }

  FakeEventLoop loop_;
  absl::BitGen random_;
  std::unique_ptr<Door> room_parent_;
  std::unique_ptr<Door> parent_;
  std::vector<UserQuestion> users_;
  std::vector<ForwardQuestion> forwards_;
  std::vector<UpdateTable> asked_;
  int exited_ = -1;
  std::unique_ptr<RoomHandler> room_;
};

TEST_F(LookupRoomTest, AnswersBothKindsOfAskers) {
  const auto receive = Connect(Room::kReceive);
  const auto queue = Connect(Room::kQueue);
  Ask(receive.get(), 1, "x@far.test");
  Ask(queue.get(), 1, "x@none.test");
  ASSERT_EQ(receive->answers.count(1), 1u);
  EXPECT_EQ(receive->answers[1].recipients.at(0).routing_key, "far.test");
  EXPECT_EQ(queue->answers.at(1).refusal, "550 Invalid recipient");
}

TEST_F(LookupRoomTest, WaitsForTheParentWithoutHoldingUpOthers) {
  const auto receive = Connect(Room::kReceive);
  Ask(receive.get(), 1, "joe@mx.test");
  Ask(receive.get(), 2, "x@far.test");
  EXPECT_EQ(receive->answers.count(1), 0u);
  EXPECT_EQ(receive->answers.count(2), 1u);
  ASSERT_EQ(users_.size(), 1u);
  EXPECT_EQ(users_[0].name, "joe");
  AnswerUser(0, UserAnswer::Result::kFound);
  EXPECT_EQ(receive->answers.count(1), 0u);
  ASSERT_EQ(forwards_.size(), 1u);
  EXPECT_EQ(forwards_[0].name, "joe");
  EXPECT_FALSE(forwards_[0].has_user);
  AnswerForward(0, ForwardAnswer::Result::kNone);
  EXPECT_EQ(receive->answers.at(1).recipients.at(0).mda_user, "joe");
}

TEST_F(LookupRoomTest, ForwardsGoOn) {
  const auto receive = Connect(Room::kReceive);
  Ask(receive.get(), 1, "joe@mx.test");
  AnswerUser(0, UserAnswer::Result::kFound);
  AnswerForward(0, ForwardAnswer::Result::kFound, "jim");
  ASSERT_EQ(users_.size(), 2u);
  AnswerUser(1, UserAnswer::Result::kFound);
  AnswerForward(1, ForwardAnswer::Result::kNone);
  EXPECT_EQ(receive->answers.at(1).recipients.at(0).mda_user, "jim");
  Ask(receive.get(), 2, "joe@mx.test");
  loop_.Advance(absl::ZeroDuration());
  ASSERT_EQ(forwards_.size(), 3u);
  loop_.Advance(kForwardTimeout);
  EXPECT_EQ(receive->answers.at(2).refusal,
            "424 4.2.4 Mailing list expansion problem");
}

// What goes by way of `receive` is sealed; only `queue` knows with what.
TEST_F(LookupRoomTest, CommandsAreSealed) {
  const auto receive = Connect(Room::kReceive);
  const auto queue = Connect(Room::kQueue);
  loop_.RunReady();
  EXPECT_EQ(receive->seal_key, "");
  ASSERT_EQ(queue->seal_key.size(), kSealKeyBytes);
  Ask(receive.get(), 1, "joe@mx.test");
  Ask(queue.get(), 2, "joe@mx.test");
  AnswerUser(0, UserAnswer::Result::kFound);
  AnswerForward(0, ForwardAnswer::Result::kFound, "|/bin/x");
  EXPECT_EQ(queue->answers.at(2).recipients.at(0).mda_exec, "|/bin/x");
  const ExpandedRecipient& place = receive->answers.at(1).recipients.at(0);
  CommandSeals seals;
  seals.AddKey(queue->seal_key);
  Envelope e;
  e.action = place.action;
  e.mda_user = place.mda_user;
  e.dest = place.dest;
  e.mda_exec = place.mda_exec;
  EXPECT_EQ(e.mda_exec.size(), kSealBytes + 7);
  ASSERT_TRUE(seals.Open(&e).ok());
  EXPECT_EQ(e.mda_exec, "|/bin/x");
}

TEST_F(LookupRoomTest, OnlyQueueMayAskWhy) {
  const auto queue = Connect(Room::kQueue);
  ExplainRequest request;
  request.about.question = 9;
  request.about.sockaddr = "203.0.113.9";
  request.about.rcpt = {"joe", "mx.test"};
  queue->door->Send(request);
  loop_.RunReady();
  // No listener in this configuration, so none of the network.
  ASSERT_EQ(queue->explanations.count(9), 1u);
  EXPECT_FALSE(queue->explanations[9].ok);
  request.about.sockaddr = "";
  queue->door->Send(request);
  loop_.RunReady();
  AnswerUser(0, UserAnswer::Result::kNotFound);
  EXPECT_TRUE(queue->explanations[9].ok);
  EXPECT_NE(queue->explanations[9].text.find("reply: 550 Invalid recipient"),
            std::string::npos);
  EXPECT_TRUE(queue->answers.empty());
  const auto receive = Connect(Room::kReceive);
  receive->door->Send(request);
  loop_.RunReady();
  EXPECT_TRUE(receive->closed);
}

TEST_F(LookupRoomTest, RelayMayAskForItsCredentialsOnly) {
  const auto relay = Connect(Room::kRelay);
  relay->door->Send(RelaySecretQuestion{5, "smart", "lab"});
  relay->door->Send(RelaySecretQuestion{6, "out", "lab"});
  loop_.RunReady();
  EXPECT_EQ(relay->secrets.at(5).result, RelaySecretAnswer::Result::kFound);
  EXPECT_EQ(relay->secrets.at(5).user, "joe");
  EXPECT_EQ(relay->secrets.at(5).secret, "secret");
  EXPECT_EQ(relay->secrets.at(6).result, RelaySecretAnswer::Result::kError);
  Ask(relay.get(), 1, "joe@mx.test");
  EXPECT_TRUE(relay->closed);
  EXPECT_TRUE(users_.empty());
  // And nobody else may ask for them.
  for (const Room room : {Room::kReceive, Room::kQueue}) {
    const auto other = Connect(room);
    other->door->Send(RelaySecretQuestion{5, "smart", "lab"});
    loop_.RunReady();
    EXPECT_TRUE(other->closed);
    EXPECT_TRUE(other->secrets.empty());
  }
}

TEST_F(LookupRoomTest, ASilentParentIsATemporaryFailure) {
  const auto receive = Connect(Room::kReceive);
  Ask(receive.get(), 1, "joe@mx.test");
  loop_.Advance(kUserQuestionTimeout);
  EXPECT_EQ(receive->answers.at(1).refusal, "451 Temporary failure");
}

TEST_F(LookupRoomTest, AnAskerThatIsGoneIsForgotten) {
  auto receive = Connect(Room::kReceive);
  Ask(receive.get(), 1, "joe@mx.test");
  receive.reset();
  loop_.RunReady();
  AnswerUser(0, UserAnswer::Result::kFound);
  // The next with that number gets its own answers only.
  const auto next = Connect(Room::kReceive);
  loop_.RunReady();
  EXPECT_TRUE(next->answers.empty());
  Ask(next.get(), 7, "x@far.test");
  EXPECT_EQ(next->answers.size(), 1u);
}

TEST_F(LookupRoomTest, ASecondDoorReplacesTheFirst) {
  const auto old = Connect(Room::kReceive);
  Ask(old.get(), 1, "joe@mx.test");
  const auto next = Connect(Room::kReceive);
  loop_.RunReady();
  EXPECT_TRUE(old->closed);
  AnswerUser(0, UserAnswer::Result::kFound);
  EXPECT_TRUE(old->answers.empty());
  EXPECT_TRUE(next->answers.empty());
}

TEST_F(LookupRoomTest, NonsenseClosesTheDoor) {
  const auto receive = Connect(Room::kReceive);
  receive->door->Send(UserQuestion{});
  loop_.RunReady();
  EXPECT_TRUE(receive->closed);
}

TEST_F(LookupRoomTest, OpenQuestionsAreBounded) {
  const auto receive = Connect(Room::kReceive);
  for (uint64_t i = 0; i < kMaxOpenExpansions; ++i) {
    Ask(receive.get(), i, "joe@mx.test");
  }
  Ask(receive.get(), 5000, "x@far.test");
  EXPECT_EQ(receive->answers.count(5000), 0u);
  AnswerUser(0, UserAnswer::Result::kNotFound);
  EXPECT_EQ(receive->answers.size(), kMaxOpenExpansions + 1);
}

// The far end of a door that has clients.
struct Gate {
  std::unique_ptr<Door> door;
  std::vector<AuthAnswer> auth;
  std::vector<ListenerTableAnswer> tables;
  bool closed = false;
};

TEST_F(LookupRoomTest, ReceiveAsksAboutUsersAndTables) {
  Gate gate;
  std::unique_ptr<Door> end;
  std::tie(end, gate.door) = MakeDoorPair(&loop_);
  gate.door->SetCallbacks(
      [&gate](Frame& frame) {
        EXPECT_TRUE(Dispatch<AuthAnswer>(
                        frame, [&](auto& a) { gate.auth.push_back(a); }) ||
                    Dispatch<ListenerTableAnswer>(
                        frame, [&](auto& a) { gate.tables.push_back(a); }));
      },
      [&gate](absl::Status) { gate.closed = true; });
  NewDoor to;
  to.peer = Room::kReceive;
  room_->OnDoor(to, std::move(end));
  // The configuration has no listener with AUTH, and none with tables.
  AuthStep step;
  step.question = 3;
  step.first = true;
  step.mechanism = "PLAIN";
  step.response = std::string("\0joe\0secret", 11);
  gate.door->Send(step);
  gate.door->Send(AuthForget{});
  for (const auto table : {ListenerTableQuestion::Table::kSenders,
                           ListenerTableQuestion::Table::kScram}) {
    ListenerTableQuestion question;
    question.question = 4;
    question.table = table;
    question.key = "joe";
    gate.door->Send(question);
  }
  loop_.RunReady();
  EXPECT_FALSE(gate.closed);
  ASSERT_EQ(gate.auth.size(), 1u);
  EXPECT_EQ(gate.auth[0].question, 3u);
  EXPECT_EQ(gate.auth[0].result, AuthAnswer::Result::kTemporary);
  ASSERT_EQ(gate.tables.size(), 2u);
  for (const ListenerTableAnswer& answer : gate.tables) {
    EXPECT_EQ(answer.question, 4u);
    EXPECT_EQ(answer.result, ListenerTableAnswer::Result::kError);
  }
  // Nobody asked for this.
  parent_->Send(PasswordAnswer{});
  loop_.RunReady();
}

TEST_F(LookupRoomTest, OnlyReceiveHasClients) {
  const auto queue = Connect(Room::kQueue);
  queue->door->Send(AuthStep{});
  loop_.RunReady();
  EXPECT_TRUE(queue->closed);
}

TEST_F(LookupRoomTest, Stops) {
  room_->OnStop(absl::Seconds(1));
  EXPECT_EQ(exited_, 0);
}

TEST_F(LookupRoomTest, TablesAreReadAgainByParent) {
  const auto queue = Connect(Room::kQueue);
  for (const char* name : {"<localnames>", "gone", "broken"}) {
    UpdateTable update;
    update.question = 40 + asked_.size();
    update.name = name;
    queue->door->Send(update);
    loop_.RunReady();
  }
  ASSERT_EQ(asked_.size(), 3u);
  EXPECT_EQ(asked_[0].name, "<localnames>");
  // One was read and replaced, one could not be, one failed in this process.
  TableFile file;
  file.name = asked_[0].name;
  file.question = asked_[0].question;
  room_->OnTable(file, absl::OkStatus());
  TableUpdated failed;
  failed.question = asked_[1].question;
  failed.error = "no such table: gone";
  parent_->Send(failed);
  file.name = asked_[2].name;
  file.question = asked_[2].question;
  room_->OnTable(file, absl::InternalError("/t: no memory"));
  loop_.RunReady();
  ASSERT_EQ(queue->updated.size(), 3u);
  EXPECT_TRUE(queue->updated[40].ok);
  EXPECT_EQ(queue->updated[40].entries, 2u);
  EXPECT_FALSE(queue->updated[41].ok);
  EXPECT_EQ(queue->updated[41].error, "no such table: gone");
  EXPECT_EQ(queue->updated[42].error, "/t: no memory");
  // Nobody asked for this, and nobody hears of it.
  file.name = "<localnames>";
  file.question = 0;
  room_->OnTable(file, absl::OkStatus());
  loop_.RunReady();
  EXPECT_EQ(queue->updated.size(), 3u);
}

TEST_F(LookupRoomTest, OnlySoManyTablesAreReadAtOnce) {
  const auto queue = Connect(Room::kQueue);
  for (size_t i = 0; i <= kMaxOpenUpdates; ++i) {
    UpdateTable update;
    update.question = i;
    update.name = "t";
    queue->door->Send(update);
  }
  loop_.RunReady();
  EXPECT_EQ(asked_.size(), kMaxOpenUpdates);
  ASSERT_EQ(queue->updated.size(), 1u);
  EXPECT_EQ(queue->updated[kMaxOpenUpdates].error,
            "too many tables are being read");
}

TEST_F(LookupRoomTest, WhoIsNotTheQueueUpdatesNothing) {
  const auto receive = Connect(Room::kReceive);
  UpdateTable update;
  update.name = "t";
  receive->door->Send(update);
  loop_.RunReady();
  EXPECT_TRUE(receive->closed);
  EXPECT_TRUE(asked_.empty());
}

}  // namespace
}  // namespace holdfast
