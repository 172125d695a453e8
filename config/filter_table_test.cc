#include "config/filter_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "config/parser.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class FilterTableTest : public testing::Test {
 protected:
  const PhaseFilter& Read(const std::string& condition) {
    ParseOptions options;
    options.path = "/c";
    const std::string text =
        absl::StrCat("table t file:/t\ntable p proc:/p\ntable here { a = b }\n",
                     "filter f phase rcpt-to match ", condition,
                     " reject \"550 no\"\n", "match for any reject\n");
    const ParseResult parsed = ParseConfig(
        options,
        [&](const std::string&) -> absl::StatusOr<std::string> { return text; },
        [](const Table&) { return nullptr; });
    for (const std::string& line : parsed.messages) ADD_FAILURE() << line;
    config_ = parsed.config;
    return config_->filters.at("f").phase;
  }
  bool IsHeld(const std::string& table) {
    return IsHeldByFilters(*Read("src " + table).criterion.table);
  }
  std::shared_ptr<const Config> config_;
};

TEST_F(FilterTableTest, Services) {
  using S = TableService;
  EXPECT_THAT(ServicesOf(Read("src <t>")), ElementsAre(S::kNetaddr));
  EXPECT_THAT(ServicesOf(Read("rdns <t>")), ElementsAre(S::kDomain));
  EXPECT_THAT(ServicesOf(Read("helo <t>")), ElementsAre(S::kDomain));
  EXPECT_THAT(ServicesOf(Read("mail-from <t>")), ElementsAre(S::kMailaddr));
  EXPECT_THAT(ServicesOf(Read("rcpt-to <t>")), ElementsAre(S::kMailaddr));
  EXPECT_THAT(ServicesOf(Read("!auth <t>")),
              ElementsAre(S::kString, S::kCredentials));
  EXPECT_THAT(ServicesOf(Read("auth regex <t>")), ElementsAre(S::kRegex));
  EXPECT_THAT(ServicesOf(Read("auth")), IsEmpty());
  EXPECT_THAT(ServicesOf(Read("fcrdns")), IsEmpty());
}

TEST_F(FilterTableTest, FiltersHoldWhatStandsInTheConfigurationItself) {
  EXPECT_TRUE(IsHeld("{ 192.0.2.1 }"));
  EXPECT_TRUE(IsHeld("<here>"));
  EXPECT_FALSE(IsHeld("<t>"));
  EXPECT_FALSE(IsHeld("<p>"));
}

}  // namespace
}  // namespace holdfast
