#include "config/table_contents.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config/table.h"
#include "config/table_match.h"

namespace holdfast {
namespace {

std::shared_ptr<const TableContents> ListOf(
    const std::vector<std::string>& keys) {
  TableContents::Builder builder;
  for (const std::string& key : keys) EXPECT_TRUE(builder.Add(key, ""));
  return builder.Finish();
}

// The definition: the first entry in order that matches by itself.
std::optional<size_t> Scan(const TableContents& contents, TableService service,
                           const std::string& key) {
  for (size_t i = 0; i < contents.size(); ++i) {
    const absl::string_view entry = contents.at(i).first;
    bool matches = false;
    switch (service) {
      case TableService::kDomain:
        matches = DomainMatches(entry, key);
        break;
      case TableService::kNetaddr:
        matches = NetaddrMatches(entry, key);
        break;
      default:
        matches = MailaddrMatches(entry, key, '+');
        break;
    }
    if (matches) return i;
  }
  return std::nullopt;
}

class Random {
 public:
  std::string Text(const std::string& letters, size_t most) {
    std::string text;
    for (size_t n = Number(most + 1); n > 0; --n) {
      text.push_back(letters[Number(letters.size())]);
    }
    return text;
  }
  size_t Number(size_t below) { return engine_() % below; }

 private:
  std::mt19937 engine_{7};
};

void CompareWithScan(TableService service, Random* random,
                     const std::function<std::string()>& entry,
                     const std::function<std::string()>& key) {
  size_t found = 0;
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::string> entries(random->Number(12));
    for (std::string& one : entries) one = entry();
    const auto contents = ListOf(entries);
    for (int i = 0; i < 10; ++i) {
      const std::string wanted = key();
      const auto got = contents->Find(service, wanted, '+');
      found += got.has_value() ? 1 : 0;
      ASSERT_EQ(got, Scan(*contents, service, wanted))
          << wanted << " in " << testing::PrintToString(entries);
    }
  }
  EXPECT_GT(found, 500u);
}

TEST(TableContents, DomainsAreFoundAsByComparingAll) {
  Random random;
  CompareWithScan(
      TableService::kDomain, &random, [&] { return random.Text("ab.*", 5); },
      [&] { return random.Text("ab.*", 6); });
}

TEST(TableContents, MailaddrsAreFoundAsByComparingAll) {
  Random random;
  CompareWithScan(
      TableService::kMailaddr, &random,
      [&] { return random.Text("ab+@@*.", 6); },
      [&] { return random.Text("ab+@.*", 6); });
}

TEST(TableContents, NetworksAreFoundAsByComparingAll) {
  Random random;
  const auto address = [&](bool inet6) {
    const auto octet = [&] { return random.Number(2) * 129 + 10; };
    if (inet6) return absl::StrFormat("2001:db8::%x:%x", octet(), octet());
    return absl::StrCat("10.", octet(), ".", octet(), ".", octet());
  };
  const auto entry = [&]() -> std::string {
    const bool inet6 = random.Number(2) == 0;
    switch (random.Number(6)) {
      case 0:
        return random.Number(2) == 0 ? "local" : "10";
      case 1:
        return inet6 ? absl::StrCat("[", address(true), "]") : address(false);
      case 2:
        return absl::StrCat("10.", random.Number(256));
      default:
        return absl::StrCat(address(inet6), "/",
                            random.Number(inet6 ? 129 : 33));
    }
  };
  const auto key = [&]() -> std::string {
    switch (random.Number(8)) {
      case 0:
        return "local";
      case 1:
        return "10.0.0.0/8";
      case 2:
      case 3:
        return absl::StrCat("[", address(true), "]");
      default:
        return address(false);
    }
  };
  CompareWithScan(TableService::kNetaddr, &random, entry, key);
}

TEST(TableContents, OrderAndDuplicates) {
  TableContents::Builder builder(TableContents::Kind::kMap);
  for (const char* key : {"example-b", "b", "Example-A", "example-a", "", "B",
                          "examplee", "example"}) {
    builder.Add(key, absl::StrCat("of ", key));
  }
  const auto contents = builder.Finish();
  std::vector<std::string> all;
  for (const auto& [key, value] : TableEntries(contents)) {
    all.push_back(absl::StrCat(key, "=", value));
  }
  EXPECT_EQ(
      all, (std::vector<std::string>{
               "=of ", "b=of B", "example=of example", "example-a=of example-a",
               "example-b=of example-b", "examplee=of examplee"}));
  EXPECT_EQ(contents->Spellings(1), (std::vector<std::string>{"B", "b"}));
  EXPECT_EQ(contents->Spellings(2), (std::vector<std::string>{"example"}));
  EXPECT_EQ(contents->Spellings(3),
            (std::vector<std::string>{"Example-A", "example-a"}));
}

TEST(TableContents, ManyPatternsAreFoundInOrder) {
  std::vector<std::string> patterns;
  for (int i = 0; i < 2000; ++i) {
    patterns.push_back(absl::StrCat("^u", i, "@[a-z]+\\.test$"));
  }
  patterns.push_back("@x");
  patterns.push_back("(");
  const auto contents = ListOf(patterns);
  const auto key = [&](const std::string& text) -> std::string {
    const auto rank = contents->Find(TableService::kRegex, text, '+');
    return rank ? std::string(contents->at(*rank).first) : "none";
  };
  EXPECT_EQ(key("u1234@abc.test"), "^u1234@[a-z]+\\.test$");
  EXPECT_EQ(key("u7@x.test"), "@x");  // "@" is before "^"
  EXPECT_EQ(key("u2000@abc.test"), "none");
  EXPECT_EQ(key("("), "none");
}

TEST(TableContents, ARegexThatIsTooLargeMatchesNothing) {
  const auto contents = ListOf({"((a{1,100}){1,100}){1,100}", "b"});
  EXPECT_EQ(contents->Find(TableService::kRegex, "a", '+'), std::nullopt);
  EXPECT_NE(contents->Find(TableService::kRegex, "b", '+'), std::nullopt);
}

// What the design promises for a table of a million entries.
TEST(TableContents, AMillionEntriesAreCompact) {
  TableContents::Builder builder(TableContents::Kind::kMap);
  for (uint64_t i = 0; i < 1000000; ++i) {
    builder.Add(absl::StrCat("user", (i * 7919) % 1000000, "@example.org"),
                absl::StrCat("mailbox", i));
  }
  const auto contents = builder.Finish();
  EXPECT_EQ(contents->size(), 1000000u);
  EXPECT_LT(contents->MemoryUse(), 80u << 20);
  EXPECT_NE(contents->Find(TableService::kAlias, "user999999@example.org", '+'),
            std::nullopt);
  EXPECT_EQ(
      contents->Find(TableService::kAlias, "user1000000@example.org", '+'),
      std::nullopt);
}

TEST(TableContents, ValuesThatAreNoAliases) {
  const auto contents = ParseTableText("/t",
                                       "good: joe, \"|cat\", error:550 gone\n"
                                       "bad: joe@dom_ain\n\nBad2: two words\n");
  ASSERT_TRUE(contents.ok()) << contents.status();
  ASSERT_EQ((*contents)->bad_aliases().size(), 2u);
  EXPECT_EQ((*contents)->bad_aliases()[0].key, "bad");
  EXPECT_EQ((*contents)->bad_aliases()[0].line, 2);
  EXPECT_EQ((*contents)->bad_aliases()[1].line, 4);
  // It is an error of tables that are used for aliases only.
  Table table("t", Table::Kind::kMap, "static", "/t");
  EXPECT_TRUE(table.CheckUses(**contents).ok());
  table.NoteUse(TableService::kAlias);
  EXPECT_EQ(table.CheckUses(**contents).message(),
            "/t:2: invalid entry for bad");
  std::string many;
  for (int i = 0; i < 100; ++i) absl::StrAppend(&many, "k", i, ": a b\n");
  EXPECT_EQ((*ParseTableText("/t", many))->bad_aliases().size(),
            TableContents::kMaxBadAliases);
}

}  // namespace
}  // namespace holdfast
