#include "server/auth/password_check.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

namespace holdfast {
namespace {

using Result = PasswordAnswer::Result;

PasswordQuestion Question(const std::string& name,
                          const std::string& password) {
  PasswordQuestion question;
  question.question = 7;
  question.name = name;
  question.password = password;
  question.address = "192.0.2.1";
  return question;
}

TEST(PasswordCheck, RefusesWhatNobodyIsCalled) {
  EXPECT_TRUE(IsPossibleAccount(Question("joe", "secret")));
  EXPECT_TRUE(IsPossibleAccount(Question("joe@example.org", "s\xff t")));
  EXPECT_TRUE(IsPossibleAccount(
      Question(std::string(255, 'u'), std::string(1023, 'p'))));
  for (const std::string& name :
       {std::string(), std::string(256, 'u'), std::string("jo\0e", 4),
        std::string("jo\ne"), std::string("../joe"), std::string("-joe"),
        std::string(".joe"), std::string("joe\x7f")}) {
    EXPECT_FALSE(IsPossibleAccount(Question(name, "secret"))) << name;
    const PasswordAnswer answer = AnswerPassword(Question(name, "secret"));
    EXPECT_EQ(answer.result, Result::kWrong);
    EXPECT_EQ(answer.question, 7u);
  }
  for (const std::string& password :
       {std::string(), std::string(1024, 'p'), std::string("p\0", 2)}) {
    EXPECT_FALSE(IsPossibleAccount(Question("joe", password)));
  }
  PasswordQuestion question = Question("joe", "secret");
  question.address = std::string("a\0b", 3);
  EXPECT_FALSE(IsPossibleAccount(question));
}

TEST(PasswordCheck, KnowsWhichAccountsAreClosed) {
  spwd entry = {};
  entry.sp_lstchg = 19000;
  entry.sp_max = 99999;
  entry.sp_expire = -1;
  EXPECT_TRUE(IsAccountOpen(entry, 20000));
  entry.sp_expire = 20001;
  EXPECT_TRUE(IsAccountOpen(entry, 20000));
  entry.sp_expire = 20000;
  EXPECT_FALSE(IsAccountOpen(entry, 20000));
  entry.sp_expire = -1;
  entry.sp_lstchg = 0;  // "must be changed at the next login"
  EXPECT_FALSE(IsAccountOpen(entry, 20000));
  entry.sp_lstchg = 19900;
  entry.sp_max = 100;
  EXPECT_TRUE(IsAccountOpen(entry, 20000));
  EXPECT_FALSE(IsAccountOpen(entry, 20001));
  entry.sp_lstchg = -1;  // no aging
  EXPECT_TRUE(IsAccountOpen(entry, 20001));
}

// As root the shadow file can be read and no such account is found; as another
// user nothing can be said of anybody.
TEST(PasswordCheck, NobodyIsLetInByTheShadowFile) {
  const Result expected = geteuid() == 0 ? Result::kWrong : Result::kError;
  EXPECT_EQ(CheckByShadow(Question("no-such-user-here", "secret")), expected);
  // An account of the system that has no password.
  EXPECT_EQ(CheckByShadow(Question("daemon", "*")), expected);
}

// Without /etc/pam.d/smtpd PAM takes the service "other", and refuses.
TEST(PasswordCheck, NobodyIsLetInByPam) {
  EXPECT_NE(CheckByPam(Question("no-such-user-here", "secret")), Result::kOk);
}

}  // namespace
}  // namespace holdfast
