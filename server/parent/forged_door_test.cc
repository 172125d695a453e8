// Every room, taken over by somebody who says to parent whatever he likes: what
// is not in the table of docs/SECURITY.md ends that room, with a line in the
// log, and does nothing else.
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/loop/fake_event_loop.h"
#include "server/parent/fake_processes.h"
#include "server/parent/parent.h"

namespace holdfast {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kConfig[] =
    "table users { \"vm\" = \"5000:5001:/vmail/vm\" }\n"
    "action \"l\" maildir userbase <users>\n"
    "action \"u\" lmtp \"/nonexistent/socket\"\n"
    "filter \"m\" milter \"/nonexistent/milter\"\n"
    "listen on socket filter \"m\"\n"
    "match for local action \"l\"\n"
    "match for domain \"u.example\" action \"u\"\n";

constexpr Room kRooms[] = {Room::kKeys,    Room::kLookup, Room::kQueue,
                           Room::kDeliver, Room::kRelay,  Room::kReceive,
                           Room::kFilters};

constexpr uint16_t kMostTypes = 80;  // none of ours is above it

template <class Message>
std::string Bytes(const Message& message) {
  std::string out;
  Encode(message, &out);
  return out;
}

// What rooms may say to parent: type and a sample.
using Samples = std::map<uint16_t, std::string>;

template <class Message>
void Add(Samples* samples, const Message& message) {
  (*samples)[Message::kType] = Bytes(message);
}

Samples AllowedTo(Room room) {
  Samples out;
  if (room == Room::kLookup) {
    UserQuestion user;
    user.name = "bob";
    Add(&out, user);
    PasswordQuestion password;
    password.name = "bob";
    Add(&out, password);
    ForwardQuestion forward;
    forward.name = "bob";
    Add(&out, forward);
    UpdateTable update;
    update.name = "none";
    Add(&out, update);
    Add(&out, ProgramKill{});
    Add(&out, TableAnswer{});
  } else if (room == Room::kQueue) {
    Add(&out, SetVerbose{});
  } else if (room == Room::kFilters) {
    MilterConnect connect;
    connect.filter = "m";
    Add(&out, connect);
    Add(&out, ProgramKill{});
  } else if (room == Room::kRelay) {
    LmtpConnect connect;
    connect.action = "u";
    Add(&out, connect);
  } else if (room == Room::kDeliver) {
    AgentRequest request;
    request.user = "bob";
    Add(&out, request);
    Add(&out, AgentKill{});
  }
  return out;
}

// All that may be said by anybody, and what only parent says.
std::vector<std::string> Payloads() {
  std::vector<std::string> out = {"",
                                  std::string(64, '\xff'),
                                  std::string(64, '\0'),
                                  Bytes(Start{}),
                                  Bytes(NewDoor{}),
                                  Bytes(AgentReady{})};
  for (Room room : kRooms) {
    for (const auto& [type, payload] : AllowedTo(room)) out.push_back(payload);
  }
  return out;
}

class ForgedDoorTest : public testing::Test {
 protected:
  // Parent with all its rooms, ready; `Find()` is a room's end of its door.
  void Begin() {
    End();
    processes_ = std::make_unique<FakeProcesses>();
    ParentSetup setup;
    setup.folder = "/x";
    setup.parse.path = "/c";
    setup.parse.server_name = "mx.example.org";
    setup.loaded =
        LoadConfig(setup.parse, [](const std::string&) { return kConfig; });
    ASSERT_NE(setup.loaded.config, nullptr);
    setup.paths = PathsBelow("/nonexistent");
    setup.listening.resize(1);
    setup.control = setup.enqueue = STDIN_FILENO;
    parent_ =
        std::make_unique<Parent>(&loop_, processes_.get(), std::move(setup));
    parent_->Begin();
    loop_.RunReady();
    rooms_ = processes_->children.size();
    ASSERT_EQ(rooms_, std::size(kRooms));
    for (Room room : kRooms) Say(room, Ready::kType, "");
    Drain();
  }
  void End() {
    parent_.reset();
    loop_.RunReady();
    processes_.reset();
  }
  void TearDown() override { End(); }

  FakeProcesses::Child* Find(Room room) {
    for (auto& child : processes_->children) {
      if (child->start.path == absl::StrCat("/x/smtpd-", RoomName(room)))
        return child.get();
    }
    return nullptr;
  }
  static std::string FrameOf(uint16_t type, const std::string& payload,
                             char fds = 0) {
    const size_t length = 3 + payload.size();
    std::string out;
    for (int i = 0; i < 4; ++i) out += static_cast<char>(length >> (8 * i));
    out += static_cast<char>(type);
    out += static_cast<char>(type >> 8);
    out += fds;
    return out + payload;
  }
  // False: parent does not listen just now.
  bool Send(Room room, const std::string& bytes) {
    return send(Find(room)->start.fds.at(0).get(), bytes.data(), bytes.size(),
                MSG_DONTWAIT | MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }
  void Say(Room room, uint16_t type, const std::string& payload) {
    EXPECT_TRUE(Send(room, FrameOf(type, payload)));
    loop_.RunReady();
  }
  void SayWithDescriptor(Room room, uint16_t type, std::string payload) {
    const std::string bytes = FrameOf(type, payload, 1);
    iovec piece = {const_cast<char*>(bytes.data()), bytes.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message = {};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = STDERR_FILENO;
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    ASSERT_GT(sendmsg(Find(room)->start.fds.at(0).get(), &message, 0), 0);
    loop_.RunReady();
  }
  // What parent has said so far is read and forgotten.
  void Drain() {
    static char bytes[1 << 20];
    for (Room room : kRooms) {
      while (recv(Find(room)->start.fds.at(0).get(), bytes, sizeof bytes,
                  MSG_DONTWAIT) > 0)
        loop_.RunReady();
    }
    loop_.RunReady();
  }
  // Those that parent has killed.
  std::vector<std::string> Killed() {
    std::vector<std::string> out;
    for (const auto& child : processes_->children) {
      for (int signal : child->signals)
        out.push_back(absl::StrCat(child->start.path, " ", signal));
    }
    return out;
  }
  size_t started() const { return processes_->children.size() - rooms_; }

  // `say` says one thing as `room`.
  template <class Say>
  void ExpectItsEnd(Room room, const std::string& what, const Say& say) {
    Begin();
    testing::internal::CaptureStderr();
    say();
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_EQ(Killed(), std::vector<std::string>{absl::StrCat(
                            "/x/smtpd-", RoomName(room), " ", SIGKILL)})
        << what;
    EXPECT_THAT(log, HasSubstr(absl::StrCat("warn: ", RoomName(room), ": ")))
        << what;
    EXPECT_EQ(started(), 0u) << what;
    // It is not heard any more, whatever else it says.
    for (const auto& [type, payload] : AllowedTo(room)) {
      Send(room, FrameOf(type, payload));
      loop_.RunReady();
    }
    EXPECT_EQ(started(), 0u) << what;
  }

  FakeEventLoop loop_;
  std::unique_ptr<FakeProcesses> processes_;
  std::unique_ptr<Parent> parent_;
  size_t rooms_ = 0;
};

TEST_F(ForgedDoorTest, WhatIsListedIsHeard) {
  for (Room room : kRooms) {
    for (const auto& [type, payload] : AllowedTo(room)) {
      Begin();
      Say(room, type, payload);
      EXPECT_THAT(Killed(), IsEmpty()) << RoomName(room) << ' ' << type;
    }
  }
}

TEST_F(ForgedDoorTest, NothingElseIs) {
  const std::vector<std::string> payloads = Payloads();
  for (Room room : kRooms) {
    const Samples allowed = AllowedTo(room);
    for (uint16_t type = 0; type < kMostTypes; ++type) {
      if (allowed.count(type) != 0) continue;
      for (const std::string& payload : payloads) {
        ExpectItsEnd(room,
                     absl::StrCat(RoomName(room), " says ", type, " with ",
                                  payload.size(), " bytes"),
                     [&] { Say(room, type, payload); });
      }
    }
    ExpectItsEnd(room, "65535", [&] { Say(room, 65535, "x"); });
  }
}

TEST_F(ForgedDoorTest, TheLineNamesRoomAndType) {
  Begin();
  testing::internal::CaptureStderr();
  Say(Room::kReceive, AgentRequest::kType, Bytes(AgentRequest{}));
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("warn: receive: unexpected message 9\n"));
}

TEST_F(ForgedDoorTest, WhatIsListedMustBeWhole) {
  for (Room room : kRooms) {
    for (const auto& [type, payload] : AllowedTo(room)) {
      const std::string what = absl::StrCat(RoomName(room), " ", type);
      for (size_t size = 0; size < payload.size(); ++size) {
        ExpectItsEnd(room, absl::StrCat(what, " cut at ", size),
                     [&] { Say(room, type, payload.substr(0, size)); });
      }
      ExpectItsEnd(room, what + " with more behind it",
                   [&] { Say(room, type, payload + "x"); });
      ExpectItsEnd(room, what + " of garbage",
                   [&] { Say(room, type, std::string(64, '\xff')); });
      ExpectItsEnd(room, what + " with a descriptor",
                   [&] { SayWithDescriptor(room, type, payload); });
    }
  }
}

TEST_F(ForgedDoorTest, FramesMustBeFrames) {
  for (Room room : kRooms) {
    ExpectItsEnd(room, "a long one", [&] {
      Send(room, std::string("\xff\xff\xff\x7f\x07\0\0", 7));
      loop_.RunReady();
    });
    ExpectItsEnd(room, "a short one", [&] {
      Send(room, std::string("\x02\0\0\0\x07\0\0", 7));
      loop_.RunReady();
    });
    ExpectItsEnd(room, "descriptors that are none", [&] {
      Send(room, FrameOf(UserQuestion::kType, "", 3));
      loop_.RunReady();
    });
    ExpectItsEnd(room, "ready twice", [&] { Say(room, Ready::kType, ""); });
  }
}

// A request may be well made and still be for what is nobody's business.
TEST_F(ForgedDoorTest, LookupCannotMakeUpUsers) {
  ForwardQuestion question;
  question.name = "vm";
  question.has_user = true;
  question.uid = 5000;
  question.gid = 5001;
  question.home = "/vmail/vm";
  Begin();
  Say(Room::kLookup, ForwardQuestion::kType, Bytes(question));
  EXPECT_EQ(started(), 1u);
  for (int change = 0; change < 4; ++change) {
    ForwardQuestion made_up = question;
    if (change == 0) made_up.uid = 0;
    if (change == 1) made_up.gid = 0;
    if (change == 2) made_up.home = "/root";
    if (change == 3) made_up.name = "root";
    Begin();
    Say(Room::kLookup, ForwardQuestion::kType, Bytes(made_up));
    EXPECT_EQ(started(), 0u) << change;
  }
}

TEST_F(ForgedDoorTest, DeliverNamesUsersAndActionsOnly) {
  const auto ask = [&](const std::string& user, const std::string& action,
                       const std::string& mailbox_user, bool commands) {
    AgentRequest request;
    request.user = user;
    request.action = action;
    request.mailbox_user = mailbox_user;
    request.commands = commands;
    Begin();
    Say(Room::kDeliver, AgentRequest::kType, Bytes(request));
    EXPECT_THAT(Killed(), IsEmpty());
    return started();
  };
  EXPECT_EQ(ask("vm", "l", "", false), 1u);
  EXPECT_EQ(ask("bob", "l", "", false), 0u);  // not in its userbase
  EXPECT_EQ(ask("vm", "none", "", false), 0u);
  EXPECT_EQ(ask("vm", "none", "", true), 0u);
  EXPECT_EQ(ask("vm", "l", "bob", false), 0u);
  EXPECT_EQ(ask("", "", "", false), 0u);
  EXPECT_EQ(ask("../x", "", "", false), 0u);
  EXPECT_EQ(ask(std::string("a\0b", 3), "", "", false), 0u);
  EXPECT_EQ(ask(std::string(300, 'a'), "", "", false), 0u);
}

TEST_F(ForgedDoorTest, DeliverCannotKillWhatIsNotItsOwn) {
  Begin();
  for (uint64_t number : {uint64_t{0}, uint64_t{1}, UINT64_MAX}) {
    AgentKill kill;
    kill.agent = number;
    Say(Room::kDeliver, AgentKill::kType, Bytes(kill));
  }
  EXPECT_THAT(Killed(), IsEmpty());
}

TEST_F(ForgedDoorTest, RelayReachesNoOtherSocket) {
  for (const char* action : {"l", "none", "", "/nonexistent/socket"}) {
    Begin();
    LmtpConnect connect;
    connect.action = action;
    testing::internal::CaptureStderr();
    Say(Room::kRelay, LmtpConnect::kType, Bytes(connect));
    EXPECT_THAT(testing::internal::GetCapturedStderr(),
                HasSubstr("warn: relay: no Unix socket"));
    EXPECT_THAT(Killed(), IsEmpty());
  }
}

TEST_F(ForgedDoorTest, ProcessesAreBounded) {
  Begin();
  for (int i = 0; i < 5000; ++i) {
    AgentRequest request;
    request.request = static_cast<uint64_t>(i);
    request.user = absl::StrCat("user", i);
    Say(Room::kDeliver, AgentRequest::kType, Bytes(request));
    if (i % 1000 == 0) Drain();
  }
  const size_t limit = MdaLimits().max_session + kMaxKeptAgents;
  EXPECT_EQ(started(), limit);
  for (int i = 0; i < 5000; ++i) {
    UserQuestion user;
    user.name = absl::StrCat("user", i);
    Say(Room::kLookup, UserQuestion::kType, Bytes(user));
    ForwardQuestion forward;
    forward.name = user.name;
    Say(Room::kLookup, ForwardQuestion::kType, Bytes(forward));
    if (i % 1000 == 0) Drain();
  }
  EXPECT_EQ(started(), limit + 2 * kMaxAuthProcesses);
  EXPECT_THAT(Killed(), IsEmpty());
}

// Who asks and never hears is not heard himself, until he does.
TEST_F(ForgedDoorTest, AnswersThatNobodyTakesAreBounded) {
  struct Case {
    Room room;
    uint16_t type;
    std::string payload;
  };
  const Case cases[] = {
      {Room::kLookup, UserQuestion::kType, Bytes(UserQuestion{})},
      {Room::kLookup, UpdateTable::kType, Bytes(UpdateTable{})},
      {Room::kDeliver, AgentRequest::kType, Bytes(AgentRequest{})},
  };
  for (const Case& one : cases) {
    Begin();
    const std::string frame = FrameOf(one.type, one.payload);
    std::string many;
    while (many.size() < 64 << 10) many += frame;
    size_t sent = 0;
    // Sends what fits; the bound is what sockets and parent hold together.
    while (sent < 64u << 20 && Send(one.room, many)) {
      sent += many.size();
      loop_.RunReady();
    }
    EXPECT_LT(sent, 64u << 20) << one.type;
    EXPECT_THAT(Killed(), IsEmpty());
    Drain();
    loop_.RunReady();
    EXPECT_TRUE(Send(one.room, frame)) << one.type;
  }
}

}  // namespace
}  // namespace holdfast
