#include "config/hints.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/old_syntax.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(NearMiss, OneLetterInThree) {
  const std::vector<std::string> words = {"alias", "virtual", "user",
                                          "userbase"};
  EXPECT_EQ(NearMiss("alais", words), "alias");
  EXPECT_EQ(NearMiss("Virtual", words), "virtual");
  EXPECT_EQ(NearMiss("usr", words), "user");
  EXPECT_EQ(NearMiss("userbas", words), "userbase");
  EXPECT_EQ(NearMiss("vrtal", words), "");
  EXPECT_EQ(NearMiss("virtal", words), "virtual");
  EXPECT_EQ(NearMiss("x", {"y"}), "");
  EXPECT_EQ(NearMiss("user", words), "");
  EXPECT_EQ(NearMiss("", words), "");
  EXPECT_EQ(NearMiss(std::string(65, 'a'), {std::string(66, 'a')}), "");
}

TEST(Printable, OctetsThatAreNoText) {
  EXPECT_EQ(Printable("a\x1b[1m\xc3 b"), "a\\x1b[1m\\xc3 b");
}

TEST(NewForm, NothingOld) {
  EXPECT_THAT(NewForm({}), IsEmpty());
  EXPECT_THAT(NewForm({"listen", "on", "lo", "prot", "25"}), IsEmpty());
  EXPECT_THAT(NewForm({"table", "a", "/", "etc/x"}), IsEmpty());
  // The name is nobody's word.
  EXPECT_THAT(NewForm({"action", "via", "relay", "hots"}), IsEmpty());
  EXPECT_THAT(NewForm({"pki", "certificate", "x"}), IsEmpty());
}

TEST(NewForm, UnfinishedLines) {
  EXPECT_THAT(NewForm({"accept"}), ElementsAre("action \"local_mail\" mbox",
                                               "match action \"local_mail\""));
  EXPECT_THAT(NewForm({"reject", "from", "!", "source"}),
              ElementsAre("match !from src reject"));
  EXPECT_THAT(NewForm({"accept", "for", "domain", "{", "a", ",", "b"}),
              ElementsAre("action \"local_mail\" mbox",
                          "match for domain { a, b action \"local_mail\""));
  EXPECT_THAT(NewForm({"limit"}), ElementsAre("mta limit KEY N"));
  EXPECT_THAT(NewForm({"expire"}), ElementsAre("queue ttl"));
}

}  // namespace
}  // namespace holdfast
