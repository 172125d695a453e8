// Passwords that the program of a table knows.
#include <gtest/gtest.h>

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/lookup/authenticator.h"
#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

using Result = AuthAnswer::Result;
using std::string_literals::operator""s;

constexpr char kHash[] = "$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80";

class FakeHasher : public PasswordHasher {
 public:
  void Check(Secret password, std::string stored, Done done) override {
    checked.push_back(absl::StrCat(password.text(), " ", stored));
    done(stored == kHash && password.text() == "Secret" ? Result::kFits
                                                        : Result::kDoesNotFit);
  }
  std::vector<std::string> checked;
};

class AuthenticatorProgramsTest : public ::testing::Test {
 protected:
  AuthenticatorProgramsTest() {
    auto config = std::make_shared<Config>();
    config->listeners.resize(1);
    config->listeners[0].auth = Listener::Auth::kRequired;
    config->listeners[0].auth_table = std::make_shared<Table>(
        "users", Table::Kind::kDynamic, "ldap", "/etc/users");
    config_ = config;
    Authenticator::Services services;
    auto hasher = std::make_unique<FakeHasher>();
    hasher_ = hasher.get();
    services.hasher = std::move(hasher);
    services.random = [](size_t bytes) { return std::string(bytes, 'r'); };
    services.ask_program = [this](TableQuery query,
                                  absl::AnyInvocable<void(TableResult)> done) {
      asked_.emplace_back(std::move(query), std::move(done));
    };
    authenticator_.emplace(&loop_, config, std::move(services));
  }

  void Begin(const std::string& user, const std::string& password,
             const std::string& mechanism = "PLAIN") {
    answer_.reset();
    AuthStep step;
    step.conversation = ++conversation_;
    step.first = true;
    step.mechanism = mechanism;
    step.response = mechanism == "PLAIN"
                        ? absl::StrCat("\0"s, user, "\0"s, password)
                        : absl::StrCat("n,,n=", user, ",r=abcdef");
    step.address = "192.0.2.1";
    authenticator_->OnStep(1, std::move(step), [this](AuthAnswer answer) {
      answer_ = std::move(answer);
    });
  }
  std::string Asked() {
    const TableQuery& query = asked_.back().first;
    return absl::StrCat(query.table, " ", std::string(TableOpName(query.op)),
                        " ", std::string(TableServiceName(query.service)), " ",
                        query.key);
  }
  void Say(TableResult result) {
    auto done = std::move(asked_.back().second);
    done(std::move(result));
    loop_.Advance(absl::Minutes(10));  // failures come late
  }
  Result Got() { return answer_.value().result; }

  FakeEventLoop loop_;
  std::shared_ptr<const Config> config_;
  FakeHasher* hasher_ = nullptr;
  std::optional<Authenticator> authenticator_;
  std::vector<std::pair<TableQuery, absl::AnyInvocable<void(TableResult)>>>
      asked_;
  std::optional<AuthAnswer> answer_;
  uint64_t conversation_ = 0;
};

const TableResult kYes = std::optional<std::string>("");
const TableResult kNo = std::optional<std::string>();
const TableResult kDown = absl::UnavailableError("down");
const TableResult kNotOffered = absl::UnimplementedError("not offered");

TEST_F(AuthenticatorProgramsTest, AreAskedWhetherAPasswordIsRight) {
  Begin("Joe", "Se:CreT|");
  ASSERT_EQ(asked_.size(), 1u);
  EXPECT_EQ(Asked(), "users check auth Joe:Se:CreT|");
  Say(kYes);
  EXPECT_EQ(Got(), Result::kOk);
  EXPECT_EQ(answer_->username, "Joe");
  Begin("Joe", "wrong");
  Say(kNo);
  EXPECT_EQ(Got(), Result::kFailed);
  Begin("Joe", "Secret");
  Say(kDown);
  EXPECT_EQ(Got(), Result::kTemporary);
  EXPECT_TRUE(hasher_->checked.empty());
}

// "joe:x" with the password "y" is "joe" with "x:y" in such a question.
TEST_F(AuthenticatorProgramsTest, NobodyHasAColonInHisName) {
  Begin("joe:x", "y");
  loop_.Advance(absl::Minutes(1));
  EXPECT_TRUE(asked_.empty());
  EXPECT_EQ(Got(), Result::kFailed);
}

TEST_F(AuthenticatorProgramsTest, WhatCannotBeAskedIsWrong) {
  Begin("joe", "x");
  Say(absl::InvalidArgumentError("key with CR, LF or NUL"));
  EXPECT_EQ(Got(), Result::kFailed);
}

TEST_F(AuthenticatorProgramsTest, ElseForCredentials) {
  Begin("Joe", "Secret");
  Say(kNotOffered);
  ASSERT_EQ(asked_.size(), 2u);
  EXPECT_EQ(Asked(), "users lookup credentials joe");
  Say(std::optional<std::string>(absl::StrCat("joe:", kHash)));
  EXPECT_EQ(Got(), Result::kOk);
  EXPECT_EQ(answer_->username, "Joe");

  Begin("Joe", "wrong");
  Say(kNotOffered);
  Say(std::optional<std::string>(kHash));
  EXPECT_EQ(Got(), Result::kFailed);

  Begin("Joe", "Secret");
  Say(kNotOffered);
  Say(kDown);
  EXPECT_EQ(Got(), Result::kTemporary);
  EXPECT_EQ(hasher_->checked.size(), 2u);
}

// What it costs to be somebody, it costs to be nobody.
TEST_F(AuthenticatorProgramsTest, StrangersAreComparedWithAHashToo) {
  for (const TableResult& result :
       {kNo, TableResult(std::optional<std::string>("plain")),
        TableResult(std::optional<std::string>("x"))}) {
    const size_t before = hasher_->checked.size();
    Begin("nobody", "Secret");
    Say(kNotOffered);
    Say(result);
    EXPECT_EQ(Got(), Result::kFailed);
    ASSERT_EQ(hasher_->checked.size(), before + 1);
    EXPECT_NE(hasher_->checked.back(), "Secret plain");
  }
}

TEST_F(AuthenticatorProgramsTest, KnowNoScram) {
  EXPECT_FALSE(authenticator_->OffersScram(config_->listeners[0]));
  Begin("joe", "", kScramMechanism);
  EXPECT_EQ(Got(), Result::kMalformed);
  EXPECT_TRUE(asked_.empty());
}

}  // namespace
}  // namespace holdfast
