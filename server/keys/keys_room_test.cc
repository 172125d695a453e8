#include "server/keys/keys_room.h"

#include <openssl/ssl.h>

#include "absl/random/random.h"
#include "gtest/gtest.h"
#include "server/loop/fake_event_loop.h"
#include "server/tls/keys_client.h"
#include "server/tls/test_certificates.h"

namespace holdfast {
namespace {

// Holds what it is given.
class Context : public TlsServerContext {
 public:
  void SetTicketKeys(const TicketKeys& k) override {
    ++times;
    keys = k;
  }
  int times = 0;
  TicketKeys keys;
};

class KeysRoomTest : public testing::Test {
 protected:
  KeysRoomTest() {
    certificate_ = authority_.Issue({"mx.example.org"});
    start_.tls_files = {{"/k", certificate_.key, false, ""}};
    id_ = PrivateKey::Parse(certificate_.key)->id();
    config_.pkis["mx"].key = "/k";
    Listener listener;
    listener.pki = {"mx"};
    config_.listeners.push_back(listener);
    parent_ = MakeDoorPair(&loop_);
  }
  void Begin() {
    room_.reset();
    auto made = KeysRoom::MakeWith(ContextOf(), 0);
    ASSERT_TRUE(made.ok()) << made.status();
    room_ = *std::move(made);
  }
  RoomContext ContextOf() {
    return RoomContext{.loop = &loop_,
                       .parent = parent_.first.get(),
                       .start = &start_,
                       .config = std::make_shared<Config>(config_),
                       .fds = {},
                       .random = random_,
                       .exit = [this](int status) { exited_ = status; }};
  }
  std::unique_ptr<Door> Connect(Room from, uint32_t number = 0) {
    auto [ours, theirs] = MakeDoorPair(&loop_);
    NewDoor to;
    to.peer = from;
    to.number = number;
    room_->OnDoor(to, std::move(theirs));
    return std::move(ours);
  }
  SignRequest Request(const std::string& key) {
    SignRequest request;
    request.key = key;
    request.algorithm = SSL_SIGN_ECDSA_SECP256R1_SHA256;
    request.input = "input";
    return request;
  }
  // What `client` is answered.
  absl::Status Ask(KeysClient* client, SignRequest request) {
    absl::Status out = absl::UnknownError("no answer");
    client->Sign(std::move(request), [&](absl::StatusOr<std::string> answer) {
      out = answer.status();
    });
    EXPECT_EQ(out, absl::UnknownError("no answer")) << "inside the call";
    loop_.RunReady();
    return out;
  }

  FakeEventLoop loop_;
  absl::BitGen random_;
  TestAuthority authority_;
  TestCertificate certificate_;
  std::string id_;
  Config config_;
  Start start_;
  std::pair<std::unique_ptr<Door>, std::unique_ptr<Door>> parent_;
  std::unique_ptr<RoomHandler> room_;
  int exited_ = -1;
};

TEST_F(KeysRoomTest, Signs) {
  Begin();
  KeysClient client(&loop_);
  client.SetDoor(Connect(Room::kReceive));
  EXPECT_TRUE(Ask(&client, Request(id_)).ok());
}

TEST_F(KeysRoomTest, RefusesAndGoesOn) {
  Begin();
  KeysClient client(&loop_);
  client.SetDoor(Connect(Room::kReceive));
  EXPECT_EQ(Ask(&client, Request("unknown")),
            absl::InternalError("unknown key"));
  SignRequest wrong = Request(id_);
  wrong.algorithm = SSL_SIGN_RSA_PKCS1_SHA256;
  EXPECT_EQ(Ask(&client, wrong),
            absl::InternalError("algorithm does not fit the key"));
  SignRequest large = Request(id_);
  large.input.assign(kMaxSignedBytes + 1, 'x');
  EXPECT_TRUE(absl::IsInvalidArgument(Ask(&client, large)));
  EXPECT_TRUE(Ask(&client, Request(id_)).ok());
}

TEST_F(KeysRoomTest, NobodySignsWithAnothersKey) {
  const TestCertificate of_client = authority_.Issue({"client.example.org"});
  start_.tls_files.push_back({"/c", of_client.key, false, ""});
  config_.pkis["client"].key = "/c";
  Action& action = config_.actions["out"];
  action.method = ActionMethod::kRelay;
  action.pki = "client";
  const std::string client_id = PrivateKey::Parse(of_client.key)->id();
  Begin();
  KeysClient receive(&loop_), relay(&loop_);
  receive.SetDoor(Connect(Room::kReceive));
  relay.SetDoor(Connect(Room::kRelay));
  EXPECT_TRUE(Ask(&receive, Request(id_)).ok());
  EXPECT_TRUE(Ask(&relay, Request(client_id)).ok());
  EXPECT_EQ(Ask(&relay, Request(id_)), absl::InternalError("unknown key"));
  EXPECT_EQ(Ask(&receive, Request(client_id)),
            absl::InternalError("unknown key"));
  // One key may serve both.
  action.pki = "mx";
  Begin();
  relay.SetDoor(Connect(Room::kRelay));
  EXPECT_TRUE(Ask(&relay, Request(id_)).ok());
}

// One that does not keep to what KeysClient keeps to.
TEST_F(KeysRoomTest, ABrokenClientIsBounded) {
  Begin();
  std::unique_ptr<Door> door = Connect(Room::kReceive);
  size_t ok = 0, refused = 0;
  std::string error;
  bool closed = false;
  door->SetCallbacks(
      [&](Frame& frame) {
        if (frame.type == TicketKeys::kType) return;
        EXPECT_TRUE((Dispatch<Signature>(frame, [&](Signature& s) {
          ++(s.ok ? ok : refused);
          error = s.error;
        })));
      },
      [&](absl::Status) { closed = true; });
  SignRequest large = Request(id_);
  large.input.assign(kMaxSignedBytes + 1, 'x');
  door->Send(large);
  loop_.RunReady();
  EXPECT_EQ(refused, 1u);
  EXPECT_EQ(error, "too much to sign");
  for (size_t i = 0; i < kMaxOpenSignatures + 10; ++i) {
    SignRequest request = Request(id_);
    request.question = i;
    door->Send(request);
  }
  loop_.RunReady();
  EXPECT_EQ(ok + refused, kMaxOpenSignatures + 11);
  EXPECT_GE(ok, kMaxOpenSignatures);
  // And one that speaks another language is dropped.
  door->Send(Ready{});
  loop_.RunReady();
  EXPECT_TRUE(closed);
}

TEST_F(KeysRoomTest, TicketKeysForReceiveOnly) {
  Begin();
  KeysClient receive(&loop_), second(&loop_), relay(&loop_);
  Context one, two, none;
  receive.Serve(&one);
  relay.Serve(&none);
  receive.SetDoor(Connect(Room::kReceive, 0));
  second.SetDoor(Connect(Room::kReceive, 1));
  relay.SetDoor(Connect(Room::kRelay));
  loop_.RunReady();
  second.Serve(&two);  // later than the keys
  ASSERT_EQ(one.keys.keys.size(), 2u);
  EXPECT_EQ(one.keys.keys[0].name, two.keys.keys[0].name);
  EXPECT_TRUE(none.keys.keys.empty());
  const std::string next = one.keys.keys[1].name;
  loop_.Advance(kTicketKeyLife);
  EXPECT_EQ(one.keys.keys[0].name, next);
  EXPECT_EQ(two.keys.keys[0].name, next);
  EXPECT_EQ(one.keys.keys.size(), 3u);
}

TEST_F(KeysRoomTest, WhenItDiesQuestionsFailAndItsSuccessorAnswers) {
  Begin();
  KeysClient client(&loop_);
  EXPECT_TRUE(absl::IsUnavailable(Ask(&client, Request(id_))));
  client.SetDoor(Connect(Room::kReceive));
  EXPECT_TRUE(client.connected());
  absl::Status open = absl::UnknownError("no answer");
  client.Sign(Request(id_), [&](absl::StatusOr<std::string> answer) {
    open = answer.status();
  });
  room_.reset();
  loop_.RunReady();
  EXPECT_TRUE(absl::IsUnavailable(open)) << open;
  EXPECT_FALSE(client.connected());
  Begin();
  client.SetDoor(Connect(Room::kReceive));
  EXPECT_TRUE(Ask(&client, Request(id_)).ok());
}

TEST_F(KeysRoomTest, AClientHasOneAnswerForEachQuestionAndAskThoseOnly) {
  Begin();
  KeysClient client(&loop_);
  client.SetDoor(Connect(Room::kReceive));
  size_t answers = 0, exhausted = 0;
  for (size_t i = 0; i < kMaxOpenSignatures + 3; ++i) {
    client.Sign(Request(id_), [&](absl::StatusOr<std::string> answer) {
      ++answers;
      if (absl::IsResourceExhausted(answer.status())) ++exhausted;
    });
  }
  loop_.RunReady();
  EXPECT_EQ(answers, kMaxOpenSignatures + 3);
  EXPECT_EQ(exhausted, 3u);
}

TEST_F(KeysRoomTest, ANewDoorReplacesTheOld) {
  Begin();
  KeysClient old(&loop_), fresh(&loop_);
  old.SetDoor(Connect(Room::kReceive));
  fresh.SetDoor(Connect(Room::kReceive));
  loop_.RunReady();
  EXPECT_FALSE(old.connected());
  EXPECT_TRUE(Ask(&fresh, Request(id_)).ok());
}

TEST_F(KeysRoomTest, BeginsOnlyWithKeys) {
  start_.tls_files = {{"/etc/ssl/mx.key", "no key", false, ""}};
  const auto made = KeysRoom::MakeWith(ContextOf(), 0);
  EXPECT_EQ(made.status().message().substr(0, 17), "/etc/ssl/mx.key: ");
  start_.tls_files.clear();
  Begin();
  room_->OnStop(absl::Seconds(1));
  EXPECT_EQ(exited_, 0);
}

}  // namespace
}  // namespace holdfast
