#include "config/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

Table ListOf(const std::vector<std::string>& keys) {
  Table table("t", Table::Kind::kList, "static", "");
  for (const std::string& key : keys) table.Add(key, "");
  return table;
}

bool Finds(const std::string& entry, TableService service,
           const std::string& key) {
  return ListOf({entry}).Check(service, key).value();
}

TEST(Table, Domains) {
  struct Case {
    const char* pattern;
    const char* domain;
    bool matches;
  };
  for (const Case& c : std::vector<Case>{
           {"example.org", "EXAMPLE.org", true},
           {"example.org", "example.com", false},
           {"*.example.org", "a.example.org", true},
           {"*.example.org", "b.a.example.org", false},
           {"*.example.org", "example.org", false},
           {"*", "x", true},
           {"*", "", false},
           {"**", "x", true},
           {"mx*", "mx1.test", true},
           {"mx*", "mx", false},
           {"ex*le.test", "exle.test", true},
           {"ex*le.test", "example.test", true},
           {"ex*le.test", "exlle.test", false},
       }) {
    EXPECT_EQ(DomainMatches(c.pattern, c.domain), c.matches)
        << c.pattern << " " << c.domain;
    EXPECT_EQ(Finds(c.pattern, TableService::kDomain, c.domain), c.matches)
        << c.pattern << " " << c.domain;
  }
}

TEST(Table, DomainValueIsOfTheFirstEntry) {
  Table table("t", Table::Kind::kMap, "static", "");
  table.Add("b.test", "exact");
  table.Add("*.test", "star");
  table.Add("b*", "late");
  const auto lookup = [&](const char* key) {
    return table.Lookup(TableService::kDomain, key).value().value_or("none");
  };
  EXPECT_EQ(lookup("b.test"), "star");
  EXPECT_EQ(lookup("b.org"), "late");
  EXPECT_EQ(lookup("c.org"), "none");
}

TEST(Table, Netaddr) {
  struct Case {
    const char* entry;
    const char* address;
    bool matches;
  };
  for (const Case& c : std::vector<Case>{
           {"192.0.2.1", "192.0.2.1", true},
           {"192.0.2.1", "192.0.2.2", false},
           {"192.0.2.0/24", "192.0.2.255", true},
           {"192.0.2.0/25", "192.0.2.128", false},
           {"10/8", "10.255.1.1", true},
           {"10", "10.1.1.1", true},
           {"10", "11.1.1.1", false},
           {"192.168/16", "192.168.9.9", true},
           {"192.168", "192.168.0.9", true},
           {"192.168", "192.168.1.9", false},
           {"0.0.0.0/0", "203.0.113.9", true},
           {"0.0.0.0/0", "[2001:db8::1]", false},
           {"::/0", "[2001:db8::1]", true},
           {"::/0", "192.0.2.1", false},
           {"2001:db8::/32", "[2001:db8:1::1]", true},
           {"[2001:db8::/33]", "[2001:db8:8000::1]", false},
           {"[2001:db8::1]", "[2001:DB8:0::1]", true},
           {"IPv6:2001:db8::1", "[2001:db8::1]", true},
           {"[IPv6:2001:db8::/32]", "[2001:db8::1]", true},
           {"ipv6:[2001:db8::/32]", "[2001:db8::1]", true},
           {"[2001:db8::]/32", "[2001:db8::1]", false},
           {"::/0", "[fe80::1%eth0]", false},
           {"[fe80::1%eth0]", "[fe80::1%eth0]", true},
           {"local", "LOCAL", true},
           {"0.0.0.0/0", "local", false},
           {"192.0.2.0/33", "192.0.2.1", false},
           {"192.0.2.256", "192.0.2.1", false},
           {"", "192.0.2.1", false},
           {"[", "192.0.2.1", false},
           {"1.2.3.4.5", "1.2.3.4", false},
           {"::ffff:192.0.2.1", "192.0.2.1", false},
       }) {
    EXPECT_EQ(NetaddrMatches(c.entry, c.address), c.matches)
        << c.entry << " " << c.address;
  }
}

TEST(Table, Mailaddr) {
  struct Case {
    const char* entry;
    const char* address;
    bool matches;
  };
  for (const Case& c : std::vector<Case>{
           {"joe@example.org", "JOE@Example.org", true},
           {"joe@example.org", "jim@example.org", false},
           {"joe", "joe@any.test", true},
           {"example.org", "joe@example.org", false},
           {"@example.org", "joe@example.org", true},
           {"@*.example.org", "joe@a.example.org", true},
           {"@", "joe@example.org", true},
           {"@", "@", true},
           {"joe@example.org", "joe+tag@example.org", true},
           {"joe+tag@example.org", "joe+tag@example.org", true},
           {"joe+tag@example.org", "joe+other@example.org", false},
           {"joe+tag@example.org", "joe@example.org", false},
           {"*", "joe@example.org", false},
           {"*", "*@example.org", true},
           {"@example.org", "@", false},
           {"", "@", false},
       }) {
    EXPECT_EQ(MailaddrMatches(c.entry, c.address, '+'), c.matches)
        << c.entry << " " << c.address;
  }
  EXPECT_TRUE(MailaddrMatches("joe", "joe-x@a", '-'));
  EXPECT_FALSE(MailaddrMatches("joe", "joe+x@a", '-'));
}

TEST(Table, Regex) {
  EXPECT_TRUE(Finds("^C", TableService::kRegex, "Cx"));
  EXPECT_TRUE(Finds("^@$", TableService::kRegex, "@"));
  EXPECT_FALSE(Finds("^@$", TableService::kRegex, "a@b"));
  EXPECT_TRUE(Finds("ample", TableService::kRegex, "example"));
  EXPECT_TRUE(Finds("(?i)AMPLE", TableService::kRegex, "example"));
  EXPECT_FALSE(Finds("(", TableService::kRegex, "("));
  // Lower case would turn the class around.
  EXPECT_TRUE(Finds("^\\S+$", TableService::kRegex, "ab"));
  EXPECT_FALSE(Finds("^\\S+$", TableService::kRegex, "a b"));
  // Two patterns that are one in lower case.
  const Table both = ListOf({"^\\s$", "^\\S$"});
  EXPECT_TRUE(both.Check(TableService::kRegex, " ").value());
  EXPECT_TRUE(both.Check(TableService::kRegex, "x").value());
  const Table reversed = ListOf({"^\\S$", "^\\s$"});
  EXPECT_TRUE(reversed.Check(TableService::kRegex, " ").value());
  EXPECT_TRUE(reversed.Check(TableService::kRegex, "x").value());
}

TEST(Table, ExactServicesAndDuplicates) {
  Table table("t", Table::Kind::kMap, "static", "");
  table.Add("Root", "Joe");
  table.Add("rOOT", "Jim");
  EXPECT_EQ(table.Lookup(TableService::kAlias, "ROOT").value(), "Jim");
  EXPECT_EQ(table.Lookup(TableService::kAlias, "other").value(), std::nullopt);
  EXPECT_FALSE(table.Check(TableService::kString, "ro*").value());
}

TEST(Table, KeyLimit) {
  const Table table = ListOf({"a"});
  EXPECT_FALSE(
      table.Check(TableService::kString, std::string(1023, 'x')).value());
  EXPECT_EQ(table.Check(TableService::kString, std::string(1024, 'x')).status(),
            absl::InvalidArgumentError(
                absl::StrCat("lookup key too long: ", std::string(1024, 'x'))));
}

TEST(Table, DynamicIsUnavailableHere) {
  const Table table("u", Table::Kind::kDynamic, "getpwnam", "");
  EXPECT_TRUE(absl::IsUnavailable(
      table.Lookup(TableService::kUserinfo, "joe").status()));
}

TEST(Table, ReplacedContentsAreSeenByWhoHoldsTheTable) {
  const auto table =
      std::make_shared<Table>("t", Table::Kind::kMap, "static", "/t");
  const TableRef held = table;
  EXPECT_TRUE(held->is_file());
  EXPECT_TRUE(held->entries().empty());
  table->Replace(*ParseTableText("/t", "a one\nb two\n"));
  EXPECT_EQ(held->Lookup(TableService::kAlias, "A").value(), "one");
  EXPECT_EQ(held->Fetch(), "a");
  EXPECT_EQ(held->kind(), Table::Kind::kMap);
  table->Replace(*ParseTableText("/t", "aa\nc\n"));
  EXPECT_EQ(held->kind(), Table::Kind::kList);
  EXPECT_EQ(held->Lookup(TableService::kAlias, "a").value(), std::nullopt);
  // The round goes on behind the last key.
  EXPECT_EQ(held->Fetch(), "aa");
  EXPECT_EQ(held->entries().size(), 2u);
}

TEST(Table, KindOfDbIsDynamic) {
  Table table("t", Table::Kind::kDynamic, "db", "/t.db");
  table.Replace(*ParseTableText("/t", "a\n"));
  EXPECT_EQ(table.kind(), Table::Kind::kDynamic);
  EXPECT_TRUE(table.Check(TableService::kDomain, "A").value());
}

TEST(Table, FetchGoesRound) {
  const Table table = ListOf({"b", "C", "a"});
  EXPECT_EQ(table.Fetch(), "a");
  EXPECT_EQ(table.Fetch(), "b");
  EXPECT_EQ(table.Fetch(), "c");
  EXPECT_EQ(table.Fetch(), "a");
  EXPECT_EQ(ListOf({}).Fetch(), std::nullopt);
}

std::map<std::string, std::string> EntriesOf(const TableContents& contents) {
  std::map<std::string, std::string> all;
  for (size_t i = 0; i < contents.size(); ++i) {
    all.emplace(std::string(contents.at(i).first),
                std::string(contents.at(i).second));
  }
  return all;
}

std::string FirstError(const std::string& text) {
  const auto table = ParseTableText("/t", text);
  return table.ok() ? "" : std::string(table.status().message());
}

TEST(TableFile, Maps) {
  const auto table = ParseTableText(
      "/t",
      "# aliases\n\n  postmaster: Root  \nroot joe, jim\nA:\tb\nc : d\n"
      "e:f # no comment\n[2001:db8::1] v6\ng :include:/x\n");
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ((*table)->kind(), TableContents::Kind::kMap);
  EXPECT_THAT(
      EntriesOf(**table),
      ElementsAre(Pair("[2001:db8::1]", "v6"), Pair("a", "b"), Pair("c", "d"),
                  Pair("e", "f # no comment"), Pair("g", ":include:/x"),
                  Pair("postmaster", "Root"), Pair("root", "joe, jim")));
}

TEST(TableFile, Lists) {
  const auto table = ParseTableText("/t", "b.test\r\na.test two\n");
  ASSERT_TRUE(table.ok());
  EXPECT_EQ((*table)->kind(), TableContents::Kind::kList);
  EXPECT_THAT(EntriesOf(**table),
              ElementsAre(Pair("a.test two", ""), Pair("b.test", "")));
  const auto forced = ParseTableText("/t", "#\t@list \n2001:db8::/32\n");
  ASSERT_TRUE(forced.ok());
  EXPECT_EQ((*forced)->kind(), TableContents::Kind::kList);
  EXPECT_THAT(EntriesOf(**forced), ElementsAre(Pair("2001:db8::/32", "")));
  // Too late: the first line has decided.
  EXPECT_EQ(FirstError("a b\n# @list\nc\n"), "/t:3 invalid map entry");
}

TEST(TableFile, EmptyIsAMap) {
  EXPECT_EQ((*ParseTableText("/t", "# x\n"))->kind(),
            TableContents::Kind::kMap);
}

TEST(TableFile, Malformed) {
  EXPECT_EQ(FirstError("a b\nc\n"), "/t:2 invalid map entry");
  EXPECT_EQ(FirstError("a:\n"), "/t:1 invalid map entry");
  EXPECT_EQ(FirstError("[::1 x\n"), "/t:1 invalid map entry");
}

}  // namespace
}  // namespace holdfast
