#include "server/lookup/authenticator.h"

#include <gtest/gtest.h>

#include <deque>
#include <optional>
#include <set>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/loop/fake_event_loop.h"
#include "storage/crypto/key_derivation.h"

namespace holdfast {
namespace {

using Result = AuthAnswer::Result;
using std::string_literals::operator""s;

constexpr char kHash[] = "$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80";

// Writes down what is to be computed; says what it is told to.
class FakeHasher : public PasswordHasher {
 public:
  struct Call {
    std::string password, stored;
    Done done;
  };
  void Check(Secret password, std::string stored, Done done) override {
    calls.push_back({password.text(), std::move(stored), std::move(done)});
  }
  std::vector<Call> calls;
};

class AuthenticatorTest : public ::testing::Test {
 protected:
  AuthenticatorTest() {
    auto users =
        std::make_shared<Table>("users", Table::Kind::kMap, "static", "");
    users->Add("joe", kHash);
    users->Add("jim",
               MakeScramVerifier(kScramHash, "pencil", "salt", 3).ToText());
    users->Add("locked", "!");
    auto config = std::make_shared<Config>();
    config->listeners.resize(4);
    config->listeners[0].auth = Listener::Auth::kRequired;
    config->listeners[0].auth_table = users;
    config->listeners[1].auth = Listener::Auth::kOptional;  // system accounts
    config->listeners[2].auth = Listener::Auth::kNone;
    config->listeners[3].auth = Listener::Auth::kOptional;
    config->listeners[3].auth_table = std::make_shared<Table>(
        "elsewhere", Table::Kind::kDynamic, "getpwnam", "");
    Authenticator::Services services;
    auto hasher = std::make_unique<FakeHasher>();
    hasher_ = hasher.get();
    services.hasher = std::move(hasher);
    services.ask_parent = [this](const PasswordQuestion& question) {
      asked_.push_back(question);
    };
    services.random = [this](size_t bytes) {
      return std::string(bytes, static_cast<char>(++random_));
    };
    authenticator_.emplace(&loop_, config, std::move(services));
  }

  // An answer, when it is there.
  using Answer = std::shared_ptr<std::optional<AuthAnswer>>;

  Answer Send(AuthStep step, uint64_t peer = 1) {
    auto answer = std::make_shared<std::optional<AuthAnswer>>();
    step.question = ++question_;
    authenticator_->OnStep(peer, std::move(step),
                           [answer, number = question_](AuthAnswer given) {
                             EXPECT_EQ(given.question, number);
                             EXPECT_FALSE(answer->has_value()) << "twice";
                             *answer = std::move(given);
                           });
    return answer;
  }

  Answer Plain(const std::string& user, const std::string& password,
               uint32_t listener = 0,
               const std::string& address = "192.0.2.1") {
    AuthStep step;
    step.conversation = ++conversation_;
    step.first = true;
    step.listener = listener;
    step.mechanism = "PLAIN";
    step.response = absl::StrCat("\0"s, user, "\0"s, password);
    step.address = address;
    return Send(std::move(step));
  }

  Answer Scram(uint64_t conversation, bool first, const std::string& response,
               uint64_t peer = 1) {
    AuthStep step;
    step.conversation = conversation;
    step.first = first;
    step.mechanism = kScramMechanism;
    step.response = response;
    step.address = "192.0.2.1";
    return Send(std::move(step), peer);
  }

  // The client's last message, with the proof.
  static std::string Proof(const std::string& bare,
                           const std::string& server_first,
                           const std::string& password,
                           const std::string& header = "n,,") {
    const std::vector<std::string> parts = absl::StrSplit(server_first, ',');
    std::string salt;
    absl::Base64Unescape(parts.at(1).substr(2), &salt);
    const std::string salted =
        Pbkdf2Sha256(password, salt,
                     static_cast<uint32_t>(std::stoul(parts.at(2).substr(2))));
    std::string proof = HmacSha256(salted, "Client Key");
    const std::string without =
        absl::StrCat("c=", absl::Base64Escape(header), ",", parts.at(0));
    const std::string signature = HmacSha256(
        Sha256(proof), absl::StrCat(bare, ",", server_first, ",", without));
    for (size_t i = 0; i < proof.size(); ++i) proof[i] ^= signature[i];
    return absl::StrCat(without, ",p=", absl::Base64Escape(proof));
  }

  void Hashed(PasswordHasher::Result result) {
    auto done = std::move(hasher_->calls.back().done);
    done(result);
    loop_.RunReady();
  }

  void ParentSays(size_t at, PasswordAnswer::Result result) {
    PasswordAnswer answer;
    answer.question = asked_.at(at).question;
    answer.result = result;
    authenticator_->OnPasswordAnswer(answer);
  }

  // Lets all delays pass and forgives all.
  void Rest() { loop_.Advance(absl::Minutes(20)); }

  FakeEventLoop loop_;
  FakeHasher* hasher_ = nullptr;
  std::vector<PasswordQuestion> asked_;
  int random_ = 0;
  uint64_t question_ = 0;
  uint64_t conversation_ = 1000;
  std::optional<Authenticator> authenticator_;
};

TEST_F(AuthenticatorTest, LetsInWhoKnowsThePassword) {
  const Answer answer = Plain("Joe", "correct horse");
  ASSERT_EQ(hasher_->calls.size(), 1u);
  EXPECT_EQ(hasher_->calls[0].password, "correct horse");
  EXPECT_EQ(hasher_->calls[0].stored, kHash);
  EXPECT_FALSE(*answer);
  Hashed(PasswordHasher::Result::kFits);
  ASSERT_TRUE(*answer);
  EXPECT_EQ((*answer)->result, Result::kOk);
  EXPECT_EQ((*answer)->username, "Joe");
}

// The heart of it: whoever is asked for, the same work is done, and the same
// answer comes at the same time.
TEST_F(AuthenticatorTest, MissingUsersLookLikeWrongPasswords) {
  for (const char* user : {"joe", "nobody", "locked", "jim"}) {
    hasher_->calls.clear();
    const Answer answer = Plain(user, "wrong");
    ASSERT_EQ(hasher_->calls.size(), 1u) << user;
    EXPECT_TRUE(IsUsablePassword(hasher_->calls[0].stored)) << user;
    Hashed(PasswordHasher::Result::kDoesNotFit);
    EXPECT_FALSE(*answer) << user;
    loop_.Advance(kFirstFailureDelay - absl::Milliseconds(1));
    EXPECT_FALSE(*answer) << user;
    loop_.Advance(absl::Milliseconds(1));
    ASSERT_TRUE(*answer) << user;
    EXPECT_EQ((*answer)->result, Result::kFailed);
    EXPECT_EQ((*answer)->username, "");
    Rest();
  }
}

// Even if the password is that of who stands in.
TEST_F(AuthenticatorTest, SomebodyElsesPasswordDoesNotHelp) {
  for (const char* user : {"nobody", "locked"}) {
    const Answer answer = Plain(user, "correct horse");
    Hashed(PasswordHasher::Result::kFits);
    Rest();
    EXPECT_EQ((*answer)->result, Result::kFailed);
  }
}

TEST_F(AuthenticatorTest, FailuresAreSlowedBySource) {
  std::vector<Answer> answers;
  for (int i = 0; i < 3; ++i) {
    answers.push_back(Plain("joe", "wrong"));
    Hashed(PasswordHasher::Result::kDoesNotFit);
  }
  const Answer other = Plain("joe", "wrong", 0, "192.0.2.2");
  Hashed(PasswordHasher::Result::kDoesNotFit);
  loop_.Advance(absl::Seconds(1));
  EXPECT_TRUE(*answers[0]);
  EXPECT_TRUE(*other);
  EXPECT_FALSE(*answers[1]);
  loop_.Advance(absl::Seconds(1));
  EXPECT_TRUE(*answers[1]);
  EXPECT_FALSE(*answers[2]);
  // Who knows the password need not wait.
  const Answer right = Plain("joe", "correct horse");
  Hashed(PasswordHasher::Result::kFits);
  EXPECT_EQ((*right)->result, Result::kOk);
  loop_.Advance(absl::Seconds(2));
  EXPECT_TRUE(*answers[2]);
}

TEST_F(AuthenticatorTest, ManyConnectionsDoNotHelp) {
  Plain("joe", "wrong");
  Hashed(PasswordHasher::Result::kDoesNotFit);
  std::vector<Answer> answers;
  for (size_t i = 0; i < kMaxOpenAttemptsAfterFailure + 5; ++i) {
    answers.push_back(Plain("joe", "wrong"));
  }
  // One is still waiting from before.
  EXPECT_EQ(hasher_->calls.size(), kMaxOpenAttemptsAfterFailure);
  for (size_t i = 0; i < answers.size(); ++i) {
    EXPECT_EQ(answers[i]->has_value(), i + 1 >= kMaxOpenAttemptsAfterFailure);
  }
  EXPECT_EQ((*answers.back())->result, Result::kTemporary);
}

TEST_F(AuthenticatorTest, TooManyPasswordsAreATemporaryFailure) {
  const Answer answer = Plain("joe", "correct horse");
  Hashed(PasswordHasher::Result::kTooMany);
  EXPECT_EQ((*answer)->result, Result::kTemporary);
}

TEST_F(AuthenticatorTest, MalformedIsSaidAtOnce) {
  AuthStep step;
  step.first = true;
  step.mechanism = "PLAIN";
  step.response = "junk";
  EXPECT_EQ((*Send(step))->result, Result::kMalformed);
  step.mechanism = "LOGIN";
  EXPECT_EQ((*Send(step))->result, Result::kMalformed);
  step.mechanism = "SCRAM-SHA-256-PLUS";
  EXPECT_EQ((*Send(step))->result, Result::kMalformed);
  EXPECT_TRUE(hasher_->calls.empty());
}

TEST_F(AuthenticatorTest, OnlyForListenersWithAuth) {
  for (const uint32_t listener : {2u, 4u, UINT32_MAX}) {
    EXPECT_EQ((*Plain("joe", "correct horse", listener))->result,
              Result::kTemporary);
  }
  EXPECT_EQ((*Plain("joe", "correct horse", 3))->result, Result::kTemporary);
  EXPECT_TRUE(hasher_->calls.empty());
}

TEST_F(AuthenticatorTest, AsksTheParentForSystemAccounts) {
  const Answer right = Plain("joe", "secret", 1);
  const Answer wrong = Plain("jim", "secret", 1);
  const Answer broken = Plain("ann", "secret", 1);
  ASSERT_EQ(asked_.size(), 3u);
  EXPECT_EQ(asked_[0].name, "joe");
  EXPECT_EQ(asked_[0].password, "secret");
  EXPECT_EQ(asked_[0].address, "192.0.2.1");
  ParentSays(0, PasswordAnswer::Result::kOk);
  EXPECT_EQ((*right)->result, Result::kOk);
  EXPECT_EQ((*right)->username, "joe");
  ParentSays(1, PasswordAnswer::Result::kWrong);
  EXPECT_FALSE(*wrong);
  // A second answer to it changes nothing.
  ParentSays(1, PasswordAnswer::Result::kOk);
  EXPECT_FALSE(*wrong);
  loop_.Advance(absl::Seconds(1));
  EXPECT_EQ((*wrong)->result, Result::kFailed);
  ParentSays(2, PasswordAnswer::Result::kError);
  EXPECT_EQ((*broken)->result, Result::kTemporary);
  EXPECT_TRUE(hasher_->calls.empty());
}

TEST_F(AuthenticatorTest, AnAnswerNobodyAskedForLetsNobodyIn) {
  const Answer answer = Plain("joe", "wrong");
  PasswordAnswer made_up;
  made_up.result = PasswordAnswer::Result::kOk;
  for (made_up.question = 0; made_up.question < 10; ++made_up.question) {
    authenticator_->OnPasswordAnswer(made_up);
  }
  EXPECT_FALSE(*answer);
}

TEST_F(AuthenticatorTest, ASilentParentIsATemporaryFailure) {
  const Answer answer = Plain("joe", "secret", 1);
  loop_.Advance(kPasswordQuestionTimeout);
  ASSERT_TRUE(*answer);
  EXPECT_EQ((*answer)->result, Result::kTemporary);
  ParentSays(0, PasswordAnswer::Result::kOk);
}

TEST_F(AuthenticatorTest, QuestionsToTheParentAreBounded) {
  std::vector<Answer> answers;
  for (size_t i = 0; i <= kMaxPasswordQuestions; ++i) {
    answers.push_back(Plain("joe", "secret", 1, absl::StrCat("192.0.2.", i)));
  }
  EXPECT_EQ(asked_.size(), kMaxPasswordQuestions);
  EXPECT_EQ((*answers.back())->result, Result::kTemporary);
  ParentSays(0, PasswordAnswer::Result::kOk);
  Plain("joe", "secret", 1, "198.51.100.1");
  EXPECT_EQ(asked_.size(), kMaxPasswordQuestions + 1);
}

TEST_F(AuthenticatorTest, ScramLetsInWhoKnowsThePassword) {
  const Answer first = Scram(1, true, "n,,n=jim,r=abc");
  ASSERT_TRUE(*first);
  ASSERT_EQ((*first)->result, Result::kChallenge);
  EXPECT_EQ((*first)->challenge.substr(0, 5), "r=abc");
  const Answer second =
      Scram(1, false, Proof("n=jim,r=abc", (*first)->challenge, "pencil"));
  ASSERT_TRUE(*second);
  ASSERT_EQ((*second)->result, Result::kChallenge);
  EXPECT_EQ((*second)->challenge.substr(0, 2), "v=");
  EXPECT_EQ((*second)->username, "");
  const Answer last = Scram(1, false, "");
  EXPECT_EQ((*last)->result, Result::kOk);
  EXPECT_EQ((*last)->username, "jim");
  // It is over.
  EXPECT_EQ((*Scram(1, false, ""))->result, Result::kTemporary);
}

TEST_F(AuthenticatorTest, PlainWorksAgainstAVerifier) {
  Plain("jim", "pencil");
  EXPECT_TRUE(LooksLikeScramVerifier(hasher_->calls.at(0).stored));
}

TEST_F(AuthenticatorTest, ScramTellsNothingOfMissingUsers) {
  std::set<std::string> salts;
  for (const char* user : {"jim", "nobody", "joe"}) {
    std::string challenges[2];
    for (std::string& challenge : challenges) {
      const std::string bare = absl::StrCat("n=", user, ",r=abc");
      const Answer first = Scram(1, true, absl::StrCat("n,,", bare));
      ASSERT_EQ((*first)->result, Result::kChallenge) << user;
      challenge = (*first)->challenge;
      const Answer second = Scram(1, false, Proof(bare, challenge, "wrong"));
      EXPECT_FALSE(*second) << user;
      loop_.Advance(kFirstFailureDelay);
      ASSERT_TRUE(*second) << user;
      EXPECT_EQ((*second)->result, Result::kFailed);
      EXPECT_EQ((*second)->challenge, "");
      // The exchange is over.
      EXPECT_EQ((*Scram(1, false, ""))->result, Result::kTemporary);
      Rest();
    }
    // The same salt each time, and its length and the count as of others.
    const auto tail = [](const std::string& c) {
      return c.substr(c.find(','));
    };
    EXPECT_EQ(tail(challenges[0]), tail(challenges[1])) << user;
    EXPECT_EQ(tail(challenges[0]).size(),
              std::string(",s=c2FsdA==,i=3").size());
    salts.insert(tail(challenges[0]));
  }
  EXPECT_EQ(salts.size(), 3u);
}

TEST_F(AuthenticatorTest, ScramNobodyActsAsAnother) {
  for (const bool self : {true, false}) {
    const std::string header = self ? "n,a=jim," : "n,a=root,";
    const Answer first = Scram(1, true, header + "n=jim,r=abc");
    const Answer second = Scram(
        1, false, Proof("n=jim,r=abc", (*first)->challenge, "pencil", header));
    Rest();
    EXPECT_EQ((*second)->result, self ? Result::kChallenge : Result::kFailed);
  }
}

TEST_F(AuthenticatorTest, ScramOnlyAgainstTables) {
  AuthStep step;
  step.first = true;
  step.listener = 1;
  step.mechanism = kScramMechanism;
  step.response = "n,,n=jim,r=abc";
  EXPECT_EQ((*Send(step))->result, Result::kMalformed);
}

TEST_F(AuthenticatorTest, ScramExchangesBelongToWhoBegan) {
  const Answer first = Scram(1, true, "n,,n=jim,r=abc");
  const std::string proof = Proof("n=jim,r=abc", (*first)->challenge, "pencil");
  EXPECT_EQ((*Scram(2, false, proof))->result, Result::kTemporary);
  EXPECT_EQ((*Scram(1, false, proof, /*peer=*/2))->result, Result::kTemporary);
  EXPECT_EQ((*Scram(1, false, proof))->result, Result::kChallenge);
}

TEST_F(AuthenticatorTest, ScramExchangesAreForgotten) {
  const auto begin = [this](uint64_t conversation, uint64_t peer) {
    const Answer first = Scram(conversation, true, "n,,n=jim,r=abc", peer);
    return Proof("n=jim,r=abc", (*first)->challenge, "pencil");
  };
  std::string proof = begin(1, 1);
  AuthForget forget;
  forget.conversation = 1;
  authenticator_->OnForget(1, forget);
  EXPECT_EQ((*Scram(1, false, proof))->result, Result::kTemporary);

  proof = begin(1, 1);
  const std::string other = begin(1, 2);
  authenticator_->OnPeerGone(1);
  EXPECT_EQ((*Scram(1, false, proof))->result, Result::kTemporary);
  EXPECT_EQ((*Scram(1, false, other, 2))->result, Result::kChallenge);

  proof = begin(3, 1);
  loop_.Advance(kScramExchangeTime + absl::Seconds(1));
  EXPECT_EQ((*Scram(3, false, proof))->result, Result::kTemporary);

  proof = begin(4, 1);
  for (uint64_t i = 0; i < kMaxScramExchanges; ++i) begin(100 + i, 1);
  EXPECT_EQ((*Scram(4, false, proof))->result, Result::kTemporary);
}

TEST_F(AuthenticatorTest, ASecondFirstStepBeginsAnew) {
  Scram(1, true, "n,,n=jim,r=abc");
  const Answer first = Scram(1, true, "n,,n=jim,r=def");
  const Answer second =
      Scram(1, false, Proof("n=jim,r=def", (*first)->challenge, "pencil"));
  EXPECT_EQ((*second)->result, Result::kChallenge);
  EXPECT_EQ((*Scram(1, false, "junk"))->result, Result::kMalformed);
}

TEST_F(AuthenticatorTest, OffersScram) {
  Listener listener;
  EXPECT_FALSE(authenticator_->OffersScram(listener));
  auto table = std::make_shared<Table>("t", Table::Kind::kMap, "static", "");
  table->Add("jim",
             MakeScramVerifier(kScramHash, "pencil", "salt", 3).ToText());
  listener.auth_table = table;
  EXPECT_FALSE(authenticator_->OffersScram(listener));
  listener.auth = Listener::Auth::kOptional;
  EXPECT_TRUE(authenticator_->OffersScram(listener));
}

// Steps of any kind, in any order: each is answered, once.
TEST_F(AuthenticatorTest, EveryStepIsAnsweredOnce) {
  uint32_t seed = 1;
  const auto random = [&seed](uint32_t n) {
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
  };
  const std::vector<std::string> responses = {
      "\0joe\0p"s,
      "\0nobody\0p"s,
      "",
      "n,,n=jim,r=abc",
      "n,,n=no,r=abc",
      "c=biws,r=abc,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
      "junk"};
  std::vector<Answer> answers;
  for (int i = 0; i < 3000; ++i) {
    AuthStep step;
    step.conversation = random(4);
    step.first = random(2) == 0;
    step.listener = random(5);
    step.mechanism = random(2) == 0 ? "PLAIN" : kScramMechanism;
    step.response = responses[random(static_cast<uint32_t>(responses.size()))];
    step.address = absl::StrCat("192.0.2.", random(3));
    answers.push_back(Send(step, random(2)));
    if (random(5) == 0) {
      loop_.Advance(absl::Seconds(random(20)));
      for (auto& call : std::exchange(hasher_->calls, {})) {
        call.done(static_cast<PasswordHasher::Result>(random(3)));
      }
      for (size_t at = 0; at < asked_.size(); ++at) {
        ParentSays(at, static_cast<PasswordAnswer::Result>(1 + random(3)));
      }
      asked_.clear();
    }
  }
  for (auto& call : std::exchange(hasher_->calls, {})) {
    call.done(PasswordHasher::Result::kDoesNotFit);
  }
  Rest();
  for (const Answer& answer : answers) EXPECT_TRUE(*answer);
}

}  // namespace
}  // namespace holdfast
