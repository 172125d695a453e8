#include "ctl/spf/spf_walk.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Names = std::vector<std::string>;

class FakeDns : public SpfDns {
 public:
  std::vector<std::string> Texts(const std::string& name) override {
    ++lookups;
    // An endless zone: each includes the next.
    if (name.rfind("chain", 0) == 0)
      return {absl::StrCat("v=spf1 include:chain", lookups)};
    return Get(texts, name);
  }
  std::vector<std::string> Exchanges(const std::string& name) override {
    return Get(exchanges, name);
  }
  std::vector<std::string> Addresses4(const std::string& name) override {
    return Get(four, name);
  }
  std::vector<std::string> Addresses6(const std::string& name) override {
    return Get(six, name);
  }

  std::map<std::string, Names> texts, exchanges, four, six;
  int lookups = 0;

 private:
  static Names Get(const std::map<std::string, Names>& from,
                   const std::string& name) {
    const auto found = from.find(name);
    return found == from.end() ? Names() : found->second;
  }
};

class SpfWalkTest : public testing::Test {
 protected:
  FakeDns dns_;
  Names printed_, warned_;
  SpfWalk walk_{&dns_,
                [this](absl::string_view l) { printed_.emplace_back(l); },
                [this](absl::string_view l) { warned_.emplace_back(l); }};
};

TEST_F(SpfWalkTest, FollowsAll) {
  dns_.texts["a.test"] = {"other",
                          "v=spf1 ip4:192.0.2.0/24 ?ip6:2001:db8::/32 "
                          "mx/28 +a:h.test/30/64 include:b.test "
                          "-ip4:10.0.0.0/8 ~a:no.test -all"};
  dns_.texts["b.test"] = {"V=SPF1 a//64 include:a.test redirect=c.test"};
  dns_.texts["c.test"] = {"v=spf1 exists:e.test ptr exp=x.test all"};
  dns_.exchanges["a.test"] = {"h.test", "m.test"};
  dns_.four["h.test"] = {"198.51.100.1"};
  dns_.six["h.test"] = {"2001:db8::1"};
  dns_.four["m.test"] = {"198.51.100.2"};
  dns_.six["b.test"] = {"2001:db8::2"};
  dns_.four["e.test"] = {"127.0.0.2"};
  dns_.four["no.test"] = {"203.0.113.1"};
  EXPECT_TRUE(walk_.Walk("a.test"));
  EXPECT_THAT(printed_, testing::UnorderedElementsAre(
                            "192.0.2.0/24", "2001:db8::/32", "198.51.100.1/30",
                            "2001:db8::1/64", "198.51.100.1/28", "2001:db8::1",
                            "198.51.100.2/28", "2001:db8::2/64", "127.0.0.2"));
  EXPECT_THAT(warned_, IsEmpty());
}

TEST_F(SpfWalkTest, EachOnce) {
  dns_.texts["a.test"] = {"v=spf1 ip4:192.0.2.1 include:A.test ip4:192.0.2.1"};
  EXPECT_TRUE(walk_.Walk("a.test"));
  EXPECT_TRUE(walk_.Walk("a.test"));
  EXPECT_THAT(printed_, ElementsAre("192.0.2.1"));
  EXPECT_EQ(dns_.lookups, 1);
}

TEST_F(SpfWalkTest, Macros) {
  dns_.texts["a.test"] = {"v=spf1 exists:%{i}._spf.a.test"};
  EXPECT_TRUE(walk_.Walk("a.test"));
  EXPECT_THAT(warned_, ElementsAre("lookup_record: %{i}._spf.a.test contains "
                                   "macros and can't be resolved"));
}

TEST_F(SpfWalkTest, ComesToAnEnd) {
  EXPECT_FALSE(walk_.Walk("chain"));
  EXPECT_EQ(dns_.lookups, SpfWalk::kMaxLookups);
  EXPECT_THAT(warned_, ElementsAre("chain needs more than 1000 lookups"));
  EXPECT_TRUE(walk_.Walk("a.test")) << "the next is not concerned";
}

TEST_F(SpfWalkTest, NothingRawReachesATerminal) {
  dns_.texts["a.test"] = {"v=spf1 ip4:\x1b[2J include:\x1b%"};
  EXPECT_TRUE(walk_.Walk("a.test"));
  EXPECT_THAT(printed_, ElementsAre("\\^[[2J"));
  ASSERT_EQ(warned_.size(), 1u);
  EXPECT_EQ(warned_[0].find('\x1b'), std::string::npos);
}

TEST(SpfRecord, IsOneOrNot) {
  EXPECT_THAT(ParseSpfRecord("v=spf10 ip4:192.0.2.1", "a.test"), IsEmpty());
  EXPECT_THAT(ParseSpfRecord("x v=spf1 ip4:192.0.2.1", "a.test"), IsEmpty());
  EXPECT_THAT(ParseSpfRecord("v=spf1", "a.test"), IsEmpty());
  EXPECT_THAT(ParseSpfRecord("v=spf1 all alles any ip4: mxx/24", "a.test"),
              IsEmpty());
  const std::vector<SpfTerm> terms = ParseSpfRecord("v=spf1 a/33/x", "a.test");
  ASSERT_EQ(terms.size(), 1u);
  EXPECT_EQ(terms[0].name, "a.test");
  EXPECT_EQ(terms[0].prefix4 + terms[0].prefix6, "");
}

TEST(SpfRecord, Strings) {
  EXPECT_EQ(JoinTxtStrings(absl::string_view("\2v=\4spf1\0", 9)), "v=spf1");
  EXPECT_EQ(JoinTxtStrings("\2ab\5cd"), "ab");
}

}  // namespace
}  // namespace holdfast
