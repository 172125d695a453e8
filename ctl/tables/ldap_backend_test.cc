#include "ctl/tables/ldap_backend.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

// The numbers of RFC 4511, section 4.1.9.
TEST(LdapPasswordAnswerTest, ARefusedAccountIsAWrongPassword) {
  EXPECT_EQ(LdapPasswordAnswer(0), true);
  // constraintViolation, noSuchObject, inappropriateAuthentication,
  // invalidCredentials, unwillingToPerform
  for (const int code : {19, 32, 48, 49, 53})
    EXPECT_EQ(LdapPasswordAnswer(code), false) << code;
}

TEST(LdapPasswordAnswerTest, TroubleIsNoAnswer) {
  // operationsError, timeLimitExceeded, confidentialityRequired, busy,
  // unavailable, other; -1: the connection is gone.
  for (const int code : {1, 3, 13, 51, 52, 80, -1})
    EXPECT_EQ(LdapPasswordAnswer(code), std::nullopt) << code;
}

}  // namespace
}  // namespace holdfast
