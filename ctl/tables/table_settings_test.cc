#include "ctl/tables/table_settings.h"

#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/stat.h>

#include <fstream>

namespace holdfast {
namespace {

using Faults = TableSettings::Faults;

TableSettings Good(absl::string_view text, Faults faults = Faults::kErrors) {
  absl::StatusOr<TableSettings> settings =
      TableSettings::Parse("f", text, faults);
  EXPECT_TRUE(settings.ok()) << settings.status();
  return settings.ok() ? *std::move(settings) : TableSettings();
}

std::string Fault(absl::string_view text) {
  return std::string(
      TableSettings::Parse("f", text, Faults::kErrors).status().message());
}

TEST(TableSettingsTest, EverySeparatorOfTheReference) {
  const struct {
    const char* line;
    const char* value;
  } cases[] = {
      {"url ldap://x", "ldap://x"},    {"url: ldap://x", "ldap://x"},
      {"url:ldap://x", "ldap://x"},    {"url : ldap://x", "ldap://x"},
      {"url\tldap://x", "ldap://x"},   {"  url  :  ldap://x  ", "ldap://x"},
      {"url  ldap://x\r", "ldap://x"}, {"url :x", ":x"},
      {"url a b: c", "a b: c"},
  };
  for (const auto& c : cases)
    EXPECT_EQ(Good(c.line).TakeText("url", "none"), c.value) << c.line;
}

TEST(TableSettingsTest, CommentsAndEmptyLines) {
  TableSettings settings =
      Good("# one\n\n   # two\nquery_alias SELECT a # no comment\n");
  EXPECT_EQ(settings.TakeText("query_alias", ""), "SELECT a # no comment");
  EXPECT_TRUE(settings.Warnings().empty());
}

TEST(TableSettingsTest, FaultsHaveFileAndLine) {
  EXPECT_EQ(Fault("a 1\n\nb\n"), "f:3: b: has no value");
  EXPECT_EQ(Fault("a :\n"), "f:1: a: has no value");
  EXPECT_EQ(Fault("a 1\nb 2\na 3\n"), "f:3: a: is there twice");
  EXPECT_EQ(Fault(absl::string_view("a x\0y\n", 6)), "f:1: a: has a NUL");
  TableSettings settings = Good("a x\n\nb 70\n");
  EXPECT_EQ(settings.TakeNumber("b", 4, 1, 60).status().message(),
            "f:3: b: must be a number from 1 to 60");
  EXPECT_EQ(settings.TakeSwitch("a", false).status().message(),
            "f:1: a: must be yes or no");
}

TEST(TableSettingsTest, WhereTheReferenceOnlyWarnsTheFirstCounts) {
  TableSettings settings = Good("a 1\nb\na 3\n", Faults::kWarnings);
  EXPECT_EQ(settings.TakeText("a", ""), "1");
  EXPECT_EQ(settings.Warnings(),
            (std::vector<std::string>{"f:2: b: has no value",
                                      "f:3: a: is there twice"}));
}

TEST(TableSettingsTest, WhatNobodyTakesIsUnknown) {
  TableSettings settings = Good("known 1\nstrange secret\n");
  EXPECT_EQ(*settings.TakeNumber("known", 0, 0, 9), 1);
  EXPECT_EQ(*settings.TakeNumber("known", 7, 0, 9), 7);
  EXPECT_EQ(settings.Warnings(),
            (std::vector<std::string>{"f:2: strange: unknown word"}));
}

TEST(TableSettingsTest, KnowsWhatHoldsAPassword) {
  const std::string path = testing::TempDir() + "/secrets";
  const struct {
    const char* text;
    size_t warnings;
  } cases[] = {
      {"conninfo postgresql://u:pw@h/mail", 1},
      {"conninfo postgres://u:pw@/mail?host=/run", 1},
      {"conninfo postgresql://h?password=pw", 1},
      {"conninfo host=h password=pw", 1},
      {"conninfo postgresql://u@h1:1,h2:2/mail", 0},
      {"conninfo postgresql://h:5432/u:x@y", 0},
      {"conninfo host=h user=u", 0},
      {"url ldap://h:389", 0},
  };
  for (const auto& c : cases) {
    std::ofstream(path) << c.text << "\n";
    ASSERT_EQ(chmod(path.c_str(), 0644), 0);
    absl::StatusOr<TableSettings> settings =
        TableSettings::Read(path, Faults::kErrors);
    ASSERT_TRUE(settings.ok()) << settings.status();
    settings->TakeText("conninfo", "");
    settings->TakeText("url", "");
    EXPECT_EQ(settings->Warnings().size(), c.warnings) << c.text;
  }
  remove(path.c_str());
}

TEST(TableSettingsTest, WarnsOfAPasswordForEverybody) {
  const std::string path = testing::TempDir() + "/settings";
  std::ofstream(path) << "password hush\n";
  for (const mode_t mode : {0644, 0640}) {
    ASSERT_EQ(chmod(path.c_str(), mode), 0);
    absl::StatusOr<TableSettings> settings =
        TableSettings::Read(path, Faults::kErrors);
    ASSERT_TRUE(settings.ok()) << settings.status();
    EXPECT_EQ(settings->TakeText("password", ""), "hush");
    EXPECT_EQ(settings->Warnings().size(), mode == 0644 ? 1u : 0u);
  }
  remove(path.c_str());
  const absl::Status gone = TableSettings::Read(path, Faults::kErrors).status();
  EXPECT_EQ(gone.message(), path + ": No such file or directory");
}

}  // namespace
}  // namespace holdfast
