#include "config/table_answers.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

Table ProcessTable(const std::string& name = "pt") {
  return Table(name, Table::Kind::kDynamic, "ldap", "/etc/pt");
}

TEST(TableAnswersTest, EveryServiceHasItsName) {
  for (int i = 1; i <= static_cast<int>(TableService::kAuth); ++i) {
    const auto service = static_cast<TableService>(i);
    EXPECT_TRUE(IsTableServiceName(TableServiceName(service))) << i;
    EXPECT_EQ(TableServiceNamed(TableServiceName(service)), service);
  }
  EXPECT_EQ(TableServiceName(TableService::kNone), "");
  EXPECT_EQ(TableServiceName(TableService::kMailaddrMap), "mailaddrmap");
  EXPECT_EQ(TableServiceName(TableService::kAddrname), "addrname");
  EXPECT_EQ(TableServiceNamed(""), std::nullopt);
  EXPECT_EQ(TableServiceNamed("guess"), std::nullopt);
}

TEST(TableAnswersTest, StaticTablesAreAskedAtOnce) {
  Table table("t", Table::Kind::kMap, "static", "");
  table.Add("joe", "jim");
  TableAnswers answers;
  EXPECT_EQ(*answers.Lookup(table, TableService::kAlias, "JOE"), "jim");
  EXPECT_FALSE(*answers.Check(table, TableService::kAlias, "ann"));
  EXPECT_FALSE(answers.missing().has_value());
}

TEST(TableAnswersTest, OneQuestionAfterTheOther) {
  const Table table = ProcessTable();
  TableAnswers answers;
  EXPECT_TRUE(absl::IsUnavailable(
      answers.Lookup(table, TableService::kAlias, "Joe").status()));
  // Another one is not asked before the first is answered.
  EXPECT_FALSE(answers.Check(table, TableService::kDomain, "d.test").ok());
  ASSERT_TRUE(answers.missing().has_value());
  EXPECT_EQ(answers.missing()->table, "pt");
  EXPECT_EQ(answers.missing()->op, TableOp::kLookup);
  EXPECT_EQ(answers.missing()->service, TableService::kAlias);
  EXPECT_EQ(answers.missing()->key, "joe");
  answers.Give(std::optional<std::string>("Jim"));
  EXPECT_FALSE(answers.missing().has_value());

  EXPECT_EQ(*answers.Lookup(table, TableService::kAlias, "JOE"), "Jim");
  EXPECT_FALSE(answers.Check(table, TableService::kDomain, "d.test").ok());
  ASSERT_TRUE(answers.missing().has_value());
  EXPECT_EQ(answers.missing()->key, "d.test");
  answers.Give(std::optional<std::string>());
  EXPECT_FALSE(*answers.Check(table, TableService::kDomain, "d.test"));
  // A lookup is no check, and another table is another.
  EXPECT_FALSE(answers.Lookup(table, TableService::kDomain, "d.test").ok());
  const Table other = ProcessTable("other");
  EXPECT_FALSE(answers.Check(other, TableService::kDomain, "d.test").ok());
}

TEST(TableAnswersTest, ErrorsAreAnswers) {
  const Table table = ProcessTable();
  TableAnswers answers;
  EXPECT_FALSE(answers.Check(table, TableService::kString, "k").ok());
  answers.Give(absl::InternalError("database is gone"));
  EXPECT_EQ(answers.Check(table, TableService::kString, "k").status().message(),
            "table \"pt\": database is gone");
  EXPECT_FALSE(answers.missing().has_value());
  answers.Clear();
  EXPECT_FALSE(answers.Check(table, TableService::kString, "k").ok());
  EXPECT_TRUE(answers.missing().has_value());
}

// A password in lower case would be another one.
TEST(TableAnswersTest, OnlyPasswordsKeepTheirCase) {
  EXPECT_EQ(MakeTableQuery(ProcessTable(), TableOp::kCheck, TableService::kAuth,
                           "Joe:SeCret")
                ->key,
            "Joe:SeCret");
  EXPECT_EQ(MakeTableQuery(ProcessTable(), TableOp::kLookup,
                           TableService::kCredentials, "Joe")
                ->key,
            "joe");
}

TEST(TableAnswersTest, LongKeysAreNotAsked) {
  const Table table = ProcessTable();
  TableAnswers answers;
  const std::string fits(kMaxTableKey, 'k');
  EXPECT_TRUE(absl::IsInvalidArgument(
      answers.Check(table, TableService::kString, fits + "k").status()));
  EXPECT_FALSE(answers.missing().has_value());
  EXPECT_FALSE(answers.Check(table, TableService::kString, fits).ok());
  EXPECT_TRUE(answers.missing().has_value());
}

}  // namespace
}  // namespace holdfast
