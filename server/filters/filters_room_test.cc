// The room with its doors: who is told what, and who may be what.
#include "server/filters/filters_room.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/random/random.h"
#include "config/parser.h"
#include "server/door/table_question.h"
#include "server/filters/filter_bed.h"
#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

constexpr char kConfig[] = R"(
filter one proc-exec "/bin/one"
filter two proc-exec "/bin/two"
filter words phase ehlo match helo { bad.test } reject "550 bad"
filter unused proc-exec "/bin/unused"
filter both chain { one, words }
listen on 127.0.0.1 port 25 filter both
listen on socket filter words
action out relay filter two
match from any for any action out
)";

// The other side of a door.
struct Client {
  explicit Client(std::unique_ptr<Door> d) : door(std::move(d)) {
    door->SetCallbacks(
        [this](Frame& frame) {
          EXPECT_TRUE(
              (Dispatch<FilterWants, FilterDecision, FilterText,
                        FilterTextTaken, FilterTextDropped, TableQuestion>(
                  frame, [this](auto& message) { On(message); })));
        },
        [this](absl::Status) { closed = true; });
  }
  void On(FilterWants& m) { wants.push_back(m); }
  void On(FilterDecision& m) { decisions.push_back(m); }
  void On(FilterText& m) { text += m.bytes; }
  void On(FilterTextTaken& m) { taken += m.bytes; }
  void On(FilterTextDropped& m) { dropped.push_back(m.reply); }
  void On(TableQuestion& m) { questions.push_back(m); }

  std::unique_ptr<Door> door;
  std::vector<FilterWants> wants;
  std::vector<FilterDecision> decisions;
  std::string text;
  size_t taken = 0;
  std::vector<std::string> dropped;
  std::vector<TableQuestion> questions;
  bool closed = false;
};

class FiltersRoomTest : public testing::Test {
 protected:
  FiltersRoomTest() { parent_ = MakeDoorPair(&loop_); }

  void Make(const std::string& text = kConfig) {
    ParseOptions options;
    options.path = "/c";
    options.server_name = "mx.test";
    ParseResult parsed = ParseConfig(
        options,
        [&](const std::string&) -> absl::StatusOr<std::string> { return text; },
        nullptr);
    ASSERT_NE(parsed.config, nullptr) << parsed.messages.at(0);
    parent_.second->SetCallbacks(
        [this](Frame& frame) {
          EXPECT_TRUE((Dispatch<ProgramKill, MilterConnect>(
              frame, [this](auto& message) { On(message); })));
        },
        [](absl::Status) {});
    parent_.first->SetCallbacks(
        [this](Frame& frame) { EXPECT_TRUE(room_->OnParentFrame(frame)); },
        [](absl::Status) {});
    auto made = FiltersRoom::Make(
        RoomContext{.loop = &loop_,
                    .parent = parent_.first.get(),
                    .start = &start_,
                    .config = parsed.config,
                    .fds = {},
                    .random = random_,
                    .exit = [this](int status) { exited_ = status; }});
    ASSERT_TRUE(made.ok());
    room_ = *std::move(made);
  }
  void On(ProgramKill& m) { killed_.push_back(m.name); }
  void On(MilterConnect& m) { connects_.push_back(m); }

  std::unique_ptr<Client> Connect(Room from, uint32_t number = 0) {
    auto [ours, theirs] = MakeDoorPair(&loop_);
    NewDoor to;
    to.peer = from;
    to.number = number;
    auto client = std::make_unique<Client>(std::move(ours));
    room_->OnDoor(to, std::move(theirs));
    loop_.RunReady();
    return client;
  }
  std::unique_ptr<FakeFilter> StartFilter(
      const std::string& name, const std::vector<std::string>& lines) {
    auto filter = std::make_unique<FakeFilter>();
    std::vector<OwnedFd> fds;
    fds.push_back(filter->TakeIo());
    fds.push_back(filter->TakeError());
    parent_.second->Send(ProgramStarted{name, ++starts_}, std::move(fds));
    for (const std::string& line : lines) filter->Say(line);
    loop_.RunReady();
    return filter;
  }
  template <class Message>
  void Send(Client* client, const Message& message) {
    client->door->Send(message);
    loop_.RunReady();
  }
  FilterSession Session(uint64_t id, const std::string& filter) {
    FilterSession session;
    session.session = SessionId(id);
    session.filter = filter;
    session.at = loop_.Now();
    session.source = "192.0.2.1:2525";
    return session;
  }
  FilterQuestion Question(uint64_t id, FilterPhase phase,
                          const std::string& argument = "") {
    FilterQuestion question;
    question.session = SessionId(id);
    question.question = ++questions_;
    question.at = loop_.Now();
    question.phase = phase;
    question.argument = argument;
    return question;
  }

  FakeEventLoop loop_;
  absl::BitGen random_;
  Start start_;
  std::pair<std::unique_ptr<Door>, std::unique_ptr<Door>> parent_;
  std::vector<std::string> killed_;
  std::vector<MilterConnect> connects_;
  uint64_t starts_ = 0, questions_ = 0;
  int exited_ = -1;
  std::unique_ptr<RoomHandler> room_;
};

TEST_F(FiltersRoomTest, EachPeerIsToldOfItsFiltersWhenTheyAreReady) {
  Make();
  const auto receive = Connect(Room::kReceive);
  const auto relay = Connect(Room::kRelay);
  const auto queue = Connect(Room::kQueue);
  ASSERT_THAT(receive->wants, SizeIs(1));
  EXPECT_EQ(receive->wants[0].filter, "words");
  ASSERT_THAT(queue->wants, SizeIs(1));
  EXPECT_EQ(queue->wants[0].filter, "words");
  EXPECT_THAT(relay->wants, IsEmpty());

  const auto one =
      StartFilter("one", {"register|filter|smtp-in|noop",
                          "register|report|smtp-in|tx-mail", "register|ready"});
  ASSERT_THAT(receive->wants, SizeIs(2));
  EXPECT_EQ(receive->wants[1].filter, "both");
  EXPECT_EQ(receive->wants[1].phases,
            MaskOf(FilterPhase::kNoop) | MaskOf(FilterPhase::kEhlo));
  EXPECT_EQ(receive->wants[1].in,
            MaskOf(FilterEvent::kTxMail) | MaskOf(FilterEvent::kLinkIdentify));
  EXPECT_THAT(relay->wants, IsEmpty());

  const auto two = StartFilter(
      "two", {"register|report|smtp-out|link-connect", "register|ready"});
  ASSERT_THAT(relay->wants, SizeIs(1));
  EXPECT_EQ(relay->wants[0].out, MaskOf(FilterEvent::kLinkConnect));
  // It is used by a relay action; the other is not.
  EXPECT_THAT(two->Lines(), testing::Contains("config|subsystem|smtp-out"));
  EXPECT_THAT(one->Lines(),
              testing::Not(testing::Contains("config|subsystem|smtp-out")));
  EXPECT_THAT(receive->wants, SizeIs(2));
  // A door that comes later hears all at once.
  EXPECT_THAT(Connect(Room::kReceive, 1)->wants, SizeIs(2));
}

TEST_F(FiltersRoomTest, ADeadFilterIsSaidToPeers) {
  Make();
  const auto receive = Connect(Room::kReceive);
  const auto one =
      StartFilter("one", {"register|filter|smtp-in|noop", "register|ready"});
  parent_.second->Send(ProgramEnded{"one", 1, "exited abnormally"});
  loop_.RunReady();
  ASSERT_THAT(receive->wants, SizeIs(3));
  EXPECT_EQ(receive->wants[2].phases, kAskedPhases);
  const auto again =
      StartFilter("one", {"register|filter|smtp-in|noop", "register|ready"});
  ASSERT_THAT(receive->wants, SizeIs(4));
  EXPECT_EQ(receive->wants[3].phases, receive->wants[1].phases);
}

TEST_F(FiltersRoomTest, ASessionFromDoorToProcess) {
  Make();
  const auto receive = Connect(Room::kReceive);
  const auto one = StartFilter(
      "one",
      {"register|filter|smtp-in|ehlo", "register|filter|smtp-in|data-line",
       "register|report|smtp-in|link-disconnect", "register|ready"});
  one->Lines();
  Send(receive.get(), Session(1, "both"));
  Send(receive.get(), Question(1, FilterPhase::kEhlo, "bad.test"));
  auto lines = one->Lines();
  ASSERT_THAT(lines, SizeIs(1));
  const auto fields = Fields(lines[0]);
  one->Say("filter-result|" + fields[5] + "|" + fields[6] + "|proceed");
  loop_.RunReady();
  ASSERT_THAT(receive->decisions, SizeIs(1));
  EXPECT_EQ(receive->decisions[0].verdict, FilterDecision::Verdict::kReject);
  EXPECT_EQ(receive->decisions[0].text, "550 bad");

  Send(receive.get(), FilterText{SessionId(1), "hello\n", true});
  EXPECT_EQ(receive->taken, 6u);
  lines = one->Lines();
  ASSERT_THAT(lines, SizeIs(2));
  for (const std::string& line : lines) {
    const auto f = Fields(line);
    one->Say("filter-dataline|" + f[5] + "|" + f[6] + "|" + f[7]);
  }
  loop_.RunReady();
  EXPECT_EQ(receive->text, "hello\n");
  Send(receive.get(), FilterSessionEnded{SessionId(1), loop_.Now()});
  EXPECT_THAT(one->Lines(), SizeIs(1));
}

TEST_F(FiltersRoomTest, SessionsOfADoorThatClosesEnd) {
  Make();
  const auto one = StartFilter(
      "one", {"register|report|smtp-in|link-disconnect", "register|ready"});
  one->Lines();
  auto receive = Connect(Room::kReceive);
  Send(receive.get(), Session(1, "both"));
  receive.reset();
  loop_.RunReady();
  EXPECT_THAT(one->Lines(), SizeIs(1));
  // The next one begins anew.
  receive = Connect(Room::kReceive);
  Send(receive.get(), Session(1, "both"));
  receive = Connect(Room::kReceive);  // takes the other's place
  EXPECT_THAT(one->Lines(), SizeIs(1));
}

TEST_F(FiltersRoomTest, WhatIsNotKnownIsRefused) {
  Make();
  const auto receive = Connect(Room::kReceive);
  const auto other = Connect(Room::kReceive, 1);
  Send(receive.get(), Session(1, "words"));
  // Not begun, and another's.
  Send(receive.get(), Question(2, FilterPhase::kNoop));
  Send(other.get(), Question(1, FilterPhase::kNoop));
  for (const Client* client : {receive.get(), other.get()}) {
    ASSERT_THAT(client->decisions, SizeIs(1));
    EXPECT_EQ(client->decisions[0].verdict,
              FilterDecision::Verdict::kDisconnect);
    EXPECT_EQ(client->decisions[0].text, "421 4.3.0 Temporary failure");
  }
  Send(receive.get(), FilterText{SessionId(2), "x", false});
  Send(receive.get(), FilterTextDropped{SessionId(2), ""});
  EXPECT_THAT(receive->dropped, ElementsAre("421 4.3.0 Temporary failure", ""));
  // Nobody takes another's session over.
  Send(other.get(), Session(1, "words"));
  Send(other.get(), FilterSessionEnded{SessionId(1), loop_.Now()});
  Send(receive.get(), Question(1, FilterPhase::kEhlo, "good.test"));
  ASSERT_THAT(receive->decisions, SizeIs(2));
  EXPECT_EQ(receive->decisions[1].verdict, FilterDecision::Verdict::kProceed);
  EXPECT_FALSE(receive->closed);
}

TEST_F(FiltersRoomTest, APeerThatBreaksTheProtocolIsDropped) {
  Make();
  const auto good = Connect(Room::kReceive, 9);
  uint32_t number = 0;
  const auto expect_dropped = [&](auto send) {
    const auto client = Connect(Room::kReceive, number++);
    Send(client.get(), Session(100 + number, "words"));
    send(client.get());
    EXPECT_TRUE(client->closed) << number;
    // It comes back, in its old place.
    const auto again = Connect(Room::kReceive, number - 1);
    EXPECT_THAT(again->wants, Not(IsEmpty()));
    Send(again.get(), Session(100 + number, "words"));
    Send(again.get(), Question(100 + number, FilterPhase::kEhlo, "bad.test"));
    EXPECT_THAT(again->decisions, SizeIs(1));
  };
  expect_dropped([&](Client* c) { Send(c, Session(1, "two")); });
  expect_dropped([&](Client* c) { Send(c, Session(1, "nothing")); });
  expect_dropped([&](Client* c) { Send(c, FilterWants{}); });
  expect_dropped([&](Client* c) {
    Send(c, Question(100 + number, FilterPhase::kDataLine));
  });
  expect_dropped([&](Client* c) {
    Send(c, FilterTextTaken{SessionId(100 + number), 1});
  });
  expect_dropped([&](Client* c) {
    Send(c, Question(100 + number, static_cast<FilterPhase>(32 + 5)));
  });
  expect_dropped([&](Client* c) {
    FilterReport report;
    report.session = SessionId(100 + number);
    report.event = static_cast<FilterEvent>(64 + 2);
    Send(c, report);
  });
  EXPECT_FALSE(good->closed);
  Send(good.get(), Session(1, "words"));
  Send(good.get(), Question(1, FilterPhase::kEhlo, "bad.test"));
  EXPECT_THAT(good->decisions, SizeIs(1));
}

TEST_F(FiltersRoomTest, APeerThatTakesNoAnswersIsNotHeard) {
  Make();
  const auto client = Connect(Room::kReceive);
  client->door->PauseReading();
  constexpr int kMost = 4000000;
  int sent = 0;
  for (; sent < kMost && client->door->backlog() < 1000000; sent += 10000) {
    for (int i = 0; i < 10000; ++i)
      client->door->Send(FilterTextDropped{SessionId(1), ""});
    loop_.RunReady();
  }
  EXPECT_LT(sent, kMost);
  EXPECT_GT(sent, kMaxPeerBacklog / 20);
  client->door->ResumeReading();
  loop_.RunReady();
  EXPECT_THAT(client->dropped, SizeIs(sent));
}

// Who reports waits for a program that is behind.
TEST_F(FiltersRoomTest, AProgramThatIsBehindIsWaitedFor) {
  Make();
  const auto one = StartFilter(
      "one", {"register|report|smtp-in|protocol-client", "register|ready"});
  one->Lines();
  const auto client = Connect(Room::kReceive);
  Send(client.get(), Session(1, "both"));
  FilterReport report;
  report.session = SessionId(1);
  report.event = FilterEvent::kProtocolClient;
  report.fields = {std::string(60000, 'x')};
  size_t sent = 0;
  const auto send_much = [&] {
    for (size_t bytes = 0; bytes < 2 * kMaxUnreadReports; ++sent) {
      client->door->Send(report);
      bytes += 60000;
    }
    loop_.RunReady();
  };
  send_much();
  EXPECT_GT(client->door->backlog(), kMaxUnreadReports / 2);
  size_t heard = 0;
  for (size_t before = 1; before != heard;) {
    before = heard;
    heard += one->Lines().size();
    loop_.RunReady();
  }
  EXPECT_EQ(heard, sent);
  EXPECT_THAT(killed_, IsEmpty());
  // But not for ever.
  send_much();
  loop_.Advance(absl::Minutes(4));
  loop_.RunReady();
  EXPECT_THAT(killed_, ElementsAre("one"));
  EXPECT_EQ(client->door->backlog(), 0u);
}

TEST_F(FiltersRoomTest, SoManySessionsAndNoMore) {
  Make();
  const auto client = Connect(Room::kReceive);
  for (uint64_t id = 1; id <= kMaxFilteredSessions + 1; ++id) {
    client->door->Send(Session(id, "words"));
    if (id % 1000 == 0) loop_.RunReady();
  }
  Send(client.get(), Question(kMaxFilteredSessions, FilterPhase::kEhlo, "a"));
  ASSERT_THAT(client->decisions, SizeIs(1));
  EXPECT_EQ(client->decisions[0].verdict, FilterDecision::Verdict::kProceed);
  Send(client.get(),
       Question(kMaxFilteredSessions + 1, FilterPhase::kEhlo, "a"));
  ASSERT_THAT(client->decisions, SizeIs(2));
  EXPECT_EQ(client->decisions[1].text, "421 4.3.0 Temporary failure");
}

TEST_F(FiltersRoomTest, ProgramsThatNobodyUsesAreNotKept) {
  Make();
  const auto filter = StartFilter("unused", {});
  EXPECT_THAT(killed_, ElementsAre("unused"));
}

TEST_F(FiltersRoomTest, TablesOfProgramsAreAskedOfLookup) {
  Make(
      "table t proc:/etc/t\n"
      "filter f phase connect match src <t> reject \"550 no\"\n"
      "listen on 127.0.0.1 filter f\naction a maildir\n"
      "match for any action a\n");
  const auto receive = Connect(Room::kReceive);
  // lookup is not there.
  Send(receive.get(), Session(1, "f"));
  Send(receive.get(), Question(1, FilterPhase::kConnect));
  ASSERT_THAT(receive->decisions, SizeIs(1));
  EXPECT_EQ(receive->decisions[0].verdict,
            FilterDecision::Verdict::kDisconnect);

  const auto lookup = Connect(Room::kLookup);
  Send(receive.get(), Question(1, FilterPhase::kConnect));
  ASSERT_THAT(lookup->questions, SizeIs(1));
  EXPECT_EQ(lookup->questions[0].table, "t");
  EXPECT_EQ(lookup->questions[0].key, "192.0.2.1");
  EXPECT_THAT(receive->decisions, SizeIs(1));
  Send(lookup.get(), TableAnswer{lookup->questions[0].question,
                                 TableAnswer::Result::kFound, ""});
  ASSERT_THAT(receive->decisions, SizeIs(2));
  EXPECT_EQ(receive->decisions[1].verdict, FilterDecision::Verdict::kReject);

  // It cannot say.
  const auto again = Connect(Room::kLookup);
  Send(receive.get(), Question(1, FilterPhase::kConnect));
  ASSERT_THAT(again->questions, SizeIs(1));
  Send(again.get(), TableAnswer{again->questions[0].question,
                                TableAnswer::Result::kError, ""});
  ASSERT_THAT(receive->decisions, SizeIs(3));
  EXPECT_EQ(receive->decisions[2].verdict,
            FilterDecision::Verdict::kDisconnect);

  // It dies while it is asked.
  Send(receive.get(), Question(1, FilterPhase::kConnect));
  again->door.reset();
  loop_.RunReady();
  ASSERT_THAT(receive->decisions, SizeIs(4));
  EXPECT_EQ(receive->decisions[3].verdict,
            FilterDecision::Verdict::kDisconnect);
  EXPECT_EQ(receive->decisions[3].text, "421 4.3.0 Temporary failure");
}

TEST_F(FiltersRoomTest, SoManyQuestionsAboutTablesAndNoMore) {
  Make(
      "table t proc:/etc/t\n"
      "filter f phase ehlo match src <t> reject \"550 no\"\n"
      "listen on 127.0.0.1 filter f\naction a maildir\n"
      "match for any action a\n");
  const auto receive = Connect(Room::kReceive);
  const auto lookup = Connect(Room::kLookup);
  for (uint64_t id = 1; id <= kMaxTableQuestions + 1; ++id) {
    receive->door->Send(Session(id, "f"));
    receive->door->Send(Question(id, FilterPhase::kEhlo, "a"));
    if (id % 1000 == 0) loop_.RunReady();
  }
  loop_.RunReady();
  EXPECT_THAT(lookup->questions, SizeIs(kMaxTableQuestions));
  ASSERT_THAT(receive->decisions, SizeIs(1));
  EXPECT_EQ(receive->decisions[0].session, SessionId(kMaxTableQuestions + 1));
  EXPECT_EQ(receive->decisions[0].text, "451 4.3.0 Temporary failure");
}

TEST_F(FiltersRoomTest, StopsWhenSessionsHaveEnded) {
  Make();
  const auto receive = Connect(Room::kReceive);
  Send(receive.get(), Session(1, "words"));
  room_->OnStop(absl::Seconds(10));
  EXPECT_EQ(exited_, -1);
  Send(receive.get(), FilterSessionEnded{SessionId(1), loop_.Now()});
  EXPECT_EQ(exited_, 0);
}

TEST_F(FiltersRoomTest, OrWhenTheTimeIsOver) {
  Make();
  const auto receive = Connect(Room::kReceive);
  Send(receive.get(), Session(1, "words"));
  room_->OnStop(absl::Seconds(10));
  loop_.Advance(absl::Seconds(10));
  EXPECT_EQ(exited_, 0);
}

}  // namespace
}  // namespace holdfast
