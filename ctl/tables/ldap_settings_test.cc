#include "ctl/tables/ldap_settings.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

constexpr char kHead[] = "url ldap://x\nbasedn dc=x\n";

absl::StatusOr<LdapSettings> Take(const std::string& text) {
  absl::StatusOr<TableSettings> settings =
      TableSettings::Parse("f", text, TableSettings::Faults::kErrors);
  if (!settings.ok()) return settings.status();
  return LdapSettings::Take(&*settings);
}

std::string Fault(const std::string& line) {
  return std::string(Take(absl::StrCat(kHead, line)).status().message());
}

std::string Filter(absl::string_view text, absl::string_view key) {
  const absl::StatusOr<LdapFilter> filter = LdapFilter::Parse(text);
  EXPECT_TRUE(filter.ok()) << filter.status();
  return filter.ok() ? filter->With(key, "users") : "";
}

TEST(LdapFilterTest, TheKeyIsOneValue) {
  EXPECT_EQ(Filter("(&(a=b)(mail=%u))", "joe@x"), "(&(a=b)(mail=joe@x))");
  EXPECT_EQ(Filter("(|(uid=%s)(uid=%u)(cn=%h)(p=%%u))", "a"),
            "(|(uid=a)(uid=a)(cn=users)(p=%u))");
  // RFC 4515, section 3.
  EXPECT_EQ(Filter("(uid=%u)", "*)(uid=*"), "(uid=\\2a\\29\\28uid=\\2a)");
  EXPECT_EQ(Filter("(uid=%u)", absl::string_view("a\\b\0c\xc3\xa9", 7)),
            "(uid=a\\5cb\\00c\\c3\\a9)");
  EXPECT_EQ(Filter("(uid=%u)", "%u"), "(uid=%u)");
}

TEST(LdapFilterTest, OtherPercentsAreFaults) {
  EXPECT_FALSE(LdapFilter::Parse("(uid=%x)").ok());
  EXPECT_FALSE(LdapFilter::Parse("(uid=%").ok());
}

TEST(LdapSettingsTest, AFileOfTheReference) {
  const absl::StatusOr<LdapSettings> ldap = Take(
      "url: ldap.example.com\n"
      "username: uid=smtpd,cn=services,dc=example,dc=com\n"
      "password: Rules!\n"
      "basedn: cn=users,dc=example,dc=com\n"
      "alias_filter: (&(objectclass=posixaccount)(mail=%u))\n"
      "alias_attributes: uid\n"
      "credentials_filter: (uid=%u)\n"
      "credentials_attributes: uid, smtpPassword\n"
      "userinfo_filter: (uid=%u)\n"
      "userinfo_attributes: uidNumber, gidNumber, homedir\n"
      "mailaddr_filter: (mail=%s)\n");
  ASSERT_TRUE(ldap.ok()) << ldap.status();
  EXPECT_EQ(ldap->url, "ldap://ldap.example.com");
  EXPECT_FALSE(ldap->starttls);
  EXPECT_EQ(ldap->searches.size(), 4u);
  EXPECT_EQ(ldap->searches.at("credentials").attributes,
            (std::vector<std::string>{"uid", "smtpPassword"}));
  EXPECT_EQ(ldap->searches.at("userinfo").attributes[2], "homedir");
  EXPECT_TRUE(ldap->searches.at("mailaddr").attributes.empty());
}

TEST(LdapSettingsTest, Urls) {
  const absl::StatusOr<LdapSettings> tls =
      Take("url ldap+tls://x:390\nbasedn d\n");
  ASSERT_TRUE(tls.ok());
  EXPECT_EQ(tls->url, "ldap://x:390");
  EXPECT_TRUE(tls->starttls);
  EXPECT_EQ(Take("url ldapi:///\nbasedn d\n")->url, "ldapi:///");
}

TEST(LdapSettingsTest, Faults) {
  EXPECT_EQ(Take("basedn x\n").status().message(), "f: url is missing");
  EXPECT_EQ(Take("url x\n").status().message(), "f: basedn is missing");
  EXPECT_EQ(Fault("alias_filter (x=%u)"),
            "f:3: alias_filter: alias_attributes is missing");
  EXPECT_EQ(Fault("alias_filter (x=%q)\nalias_attributes a"),
            "f:3: alias_filter: after a % there must be u, s, h or another %");
  EXPECT_EQ(Fault("credentials_filter (x=%u)\ncredentials_attributes a"),
            "f:4: credentials_attributes: must be 2 name(s)");
  EXPECT_EQ(Fault("userinfo_filter (x=%u)\nuserinfo_attributes a,,b"),
            "f:4: userinfo_attributes: has an empty name");
  EXPECT_EQ(Fault("domain_attributes a"),
            "f:3: domain_attributes: is of no use without domain_filter");
  EXPECT_EQ(Fault("starttls maybe"), "f:3: starttls: must be yes or no");
}

TEST(LdapSettingsTest, TheSchemeOfAHash) {
  EXPECT_EQ(StripLdapScheme("{CRYPT}$6$a"), "$6$a");
  EXPECT_EQ(StripLdapScheme("{crypt}$6$a"), "$6$a");
  EXPECT_EQ(StripLdapScheme("$6$a"), "$6$a");
  EXPECT_EQ(StripLdapScheme("{SSHA}x"), "{SSHA}x");
}

}  // namespace
}  // namespace holdfast
