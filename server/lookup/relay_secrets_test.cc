#include "server/lookup/relay_secrets.h"

#include <memory>
#include <string>

#include "gtest/gtest.h"

namespace holdfast {
namespace {

using Result = RelaySecretAnswer::Result;

class RelaySecretsTest : public ::testing::Test {
 protected:
  RelaySecretsTest() {
    const TableRef secrets =
        Table("secrets", {{"lab", "joe:top:secret"},
                          {"token", "joe@example.org:Bearer abc.def"},
                          {"empty", "joe:"},
                          {"nobody", ":secret"},
                          {"plain", "secret"}});
    Add("out", ActionMethod::kRelay).auth = secrets;
    Add("open", ActionMethod::kRelay);
    // A credentials table of something else.
    Add("in", ActionMethod::kMaildir).auth = secrets;
  }

  static TableRef Table(
      const char* name,
      const std::vector<std::pair<std::string, std::string>>& entries) {
    auto table = std::make_shared<holdfast::Table>(
        name, holdfast::Table::Kind::kMap, "static", "");
    for (const auto& [key, value] : entries) table->Add(key, value);
    return table;
  }

  Action& Add(const std::string& name, ActionMethod method) {
    Action& action = config_.actions[name];
    action.name = name;
    action.method = method;
    return action;
  }

  RelaySecretAnswer Ask(const std::string& action, const std::string& label) {
    return AnswerRelaySecret(config_, {7, action, label}, &answers_);
  }

  Config config_;
  TableAnswers answers_;
};

TEST_F(RelaySecretsTest, UserAndPasswordAreDividedByTheFirstColon) {
  const RelaySecretAnswer answer = Ask("out", "lab");
  EXPECT_EQ(answer.question, 7u);
  EXPECT_EQ(answer.result, Result::kFound);
  EXPECT_EQ(answer.user, "joe");
  EXPECT_EQ(answer.secret, "top:secret");
}

TEST_F(RelaySecretsTest, LabelsAreFoundWhateverTheirCase) {
  EXPECT_EQ(Ask("out", "LAB").result, Result::kFound);
}

TEST_F(RelaySecretsTest, ATokenIsASecretToo) {
  EXPECT_EQ(Ask("out", "token").secret, "Bearer abc.def");
}

TEST_F(RelaySecretsTest, WhatIsNotThere) {
  EXPECT_EQ(Ask("out", "none").result, Result::kNotFound);
}

TEST_F(RelaySecretsTest, WhatMakesNoSense) {
  for (const char* label : {"empty", "nobody", "plain"}) {
    const RelaySecretAnswer answer = Ask("out", label);
    EXPECT_EQ(answer.result, Result::kError) << label;
    EXPECT_EQ(answer.user + answer.secret, "") << label;
  }
}

TEST_F(RelaySecretsTest, OnlyTablesOfRelayActionsAnswer) {
  for (const char* action : {"open", "in", "nothing", ""})
    EXPECT_EQ(Ask(action, "lab").result, Result::kError) << action;
  EXPECT_EQ(Ask("out", "").result, Result::kError);
}

TEST_F(RelaySecretsTest, Program) {
  Add("out", ActionMethod::kRelay).auth = std::make_shared<holdfast::Table>(
      "p", holdfast::Table::Kind::kDynamic, "ldap", "");
  Ask("out", "Lab");
  ASSERT_TRUE(answers_.missing());
  EXPECT_EQ(answers_.missing()->service, TableService::kCredentials);
  EXPECT_EQ(answers_.missing()->key, "lab");
  answers_.Give(std::optional<std::string>("joe:Secret"));
  const RelaySecretAnswer answer = Ask("out", "Lab");
  EXPECT_FALSE(answers_.missing());
  EXPECT_EQ(answer.result, Result::kFound);
  EXPECT_EQ(answer.secret, "Secret");
}

}  // namespace
}  // namespace holdfast
