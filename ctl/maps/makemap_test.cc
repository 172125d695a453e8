#include "ctl/maps/makemap.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "config/db_file.h"
#include "ctl/maps/map_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using testing::ElementsAre;

class MakemapTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/makemap_test.XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    options_.source = folder_ + "/m";
    options_.output = folder_ + "/m.db";
  }
  void TearDown() override {
    const std::string command = "rm -rf " + folder_;
    ASSERT_EQ(system(command.c_str()), 0);
  }
  std::string Make(const std::string& text) {
    std::ofstream(options_.source) << text;
    return MakeMap(options_).error;
  }
  static std::string Bytes(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  std::vector<std::string> Files() {
    std::vector<std::string> names;
    DIR* dir = opendir(folder_.c_str());
    while (const dirent* entry = readdir(dir))
      if (entry->d_name[0] != '.') names.push_back(entry->d_name);
    closedir(dir);
    std::sort(names.begin(), names.end());
    return names;
  }

  std::string folder_;
  MakemapOptions options_;
};

TEST_F(MakemapTest, TheDaemonReadsWhatItMakes) {
  std::string text;
  for (int i = 0; i < 5000; ++i)
    text += "Key" + std::to_string(i) + " value " + std::to_string(i) + "\n";
  text += "long " + std::string(20000, 'x') + "\n";
  ASSERT_EQ(Make(text), "");
  const auto table = ParseDbFile(options_.output, Bytes(options_.output));
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ((*table)->size(), 5001u);
  auto find = [&](absl::string_view key) -> std::string {
    const auto at = (*table)->Find(TableService::kAlias, key, '+');
    return at ? std::string((*table)->at(*at).second) : "none";
  };
  EXPECT_EQ(find("key4999"), "value 4999");
  EXPECT_EQ(find("long"), std::string(20000, 'x'));
  EXPECT_EQ(find("key5000"), "none");
  EXPECT_THAT(Files(), ElementsAre("m", "m.db"));
}

TEST_F(MakemapTest, AFailureLeavesTheOldMap) {
  ASSERT_EQ(Make("a b\n"), "");
  const std::string before = Bytes(options_.output);
  EXPECT_EQ(Make("a b\nbad\n"), options_.source + ":2: invalid entry");
  EXPECT_EQ(Bytes(options_.output), before);
  EXPECT_THAT(Files(), ElementsAre("m", "m.db"));
  options_.output = folder_ + "/nowhere/x.db";
  EXPECT_EQ(Make("a b\n"), options_.output + ": No such file or directory");
}

TEST_F(MakemapTest, ModeIsTheSources) {
  std::ofstream(options_.source) << "a b\n";
  ASSERT_EQ(chmod(options_.source.c_str(), 0640), 0);
  ASSERT_EQ(MakeMap(options_).error, "");
  struct stat st;
  ASSERT_EQ(stat(options_.output.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0640u);
}

TEST_F(MakemapTest, ALockedSource) {
  std::ofstream(options_.source) << "a b\n";
  const int fd = open(options_.source.c_str(), O_RDONLY);
  ASSERT_EQ(flock(fd, LOCK_EX), 0);
  EXPECT_EQ(MakeMap(options_).error, options_.source + " is locked");
  close(fd);
}

TEST_F(MakemapTest, BothKindsAreDumped) {
  for (const bool btree : {false, true}) {
    options_.btree = btree;
    ASSERT_EQ(Make("b: 2\na: 1\n"), "");
    std::map<std::string, std::string> got;
    ASSERT_TRUE(ReadMapFile(options_.output, [&](absl::string_view key,
                                                 absl::string_view value) {
                  got[std::string(key)] = std::string(value);
                  return true;
                }).ok());
    EXPECT_THAT(got,
                ElementsAre(testing::Pair("a", "1"), testing::Pair("b", "2")));
  }
  EXPECT_FALSE(
      ReadMapFile(options_.source, [](auto, auto) { return true; }).ok());
}

TEST(MakemapOptions, AsGiven) {
  MakemapOptions o = ParseMakemapOptions({"-t", "aliases", "-dbtree", "x"});
  EXPECT_FALSE(o.error);
  EXPECT_EQ(o.type, MapType::kAliases);
  EXPECT_TRUE(o.btree);
  EXPECT_EQ(o.source, "x");
  EXPECT_EQ(o.output, "x.db");
  o = ParseMakemapOptions({"-C", "conf", "-o", "y", "-t", "set", "-"});
  EXPECT_EQ(o.source, "-");
  EXPECT_EQ(o.output, "y");
  EXPECT_EQ(o.type, MapType::kSet);
  o = ParseMakemapOptions({"-t", "set", "hash", "out"});
  EXPECT_EQ(o.source, "-");
  EXPECT_EQ(o.output, "out.db");
  EXPECT_EQ(o.type, MapType::kPlain);
  EXPECT_TRUE(ParseMakemapOptions({"-U", "x.db"}).dump);
}

TEST(MakemapOptions, WhatIsWrong) {
  EXPECT_EQ(ParseMakemapOptions({"-d", "dbm", "x"}).error,
            "makemap: unsupported DB type 'dbm'\n");
  EXPECT_EQ(ParseMakemapOptions({"-t", "map", "x"}).error,
            "makemap: unsupported type 'map'\n");
  EXPECT_EQ(ParseMakemapOptions({"dbm", "x"}).error,
            "makemap: unsupported DB type 'dbm'\n");
  const std::string usage =
      "usage: makemap [-U] [-d dbtype] [-o dbfile] [-t type] file\n";
  EXPECT_EQ(ParseMakemapOptions({}).error, usage);
  EXPECT_EQ(ParseMakemapOptions({"-z", "x"}).error,
            "makemap: invalid option -- 'z'\n" + usage);
  EXPECT_EQ(ParseMakemapOptions({"-o"}).error,
            "makemap: option requires an argument -- 'o'\n" + usage);
  EXPECT_TRUE(ParseMakemapOptions({"-"}).error);
}

}  // namespace
}  // namespace holdfast
