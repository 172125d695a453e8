#include "config/db_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "config/db_writer_for_test.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using Entries = std::vector<std::pair<std::string, std::string>>;

class DbFileTest : public testing::Test {
 protected:
  ~DbFileTest() override { std::remove(path_.c_str()); }

  std::string Bytes() const {
    std::ifstream file(path_, std::ios::binary);
    std::ostringstream all;
    all << file.rdbuf();
    return all.str();
  }
  static std::map<std::string, std::string> Read(const std::string& bytes) {
    const auto contents = ParseDbFile("/t.db", bytes);
    EXPECT_TRUE(contents.ok()) << contents.status();
    std::map<std::string, std::string> all;
    if (!contents.ok()) return all;
    for (size_t i = 0; i < (*contents)->size(); ++i) {
      const auto [key, value] = (*contents)->at(i);
      all.emplace(std::string(key), std::string(value));
    }
    return all;
  }
  static std::string Error(const std::string& bytes) {
    return std::string(ParseDbFile("/t.db", bytes).status().message());
  }

  const std::string path_ =
      absl::StrCat(testing::TempDir(), "/db_file_test.",
                   testing::UnitTest::GetInstance()->random_seed(), ".db");
};

TEST_F(DbFileTest, AsMakemapWritesIt) {
  WriteDbFile(path_, {{"root", "Joe, jim"}, {"postmaster", "root"}});
  EXPECT_THAT(Read(Bytes()), ElementsAre(Pair("postmaster", "root"),
                                         Pair("root", "Joe, jim")));
}

TEST_F(DbFileTest, WithoutNulAndInUpperCase) {
  WriteDbFile(path_, {{"Root", "joe"}}, {.nul = false});
  EXPECT_THAT(Read(Bytes()), ElementsAre(Pair("root", "joe")));
}

TEST_F(DbFileTest, Empty) {
  WriteDbFile(path_, {});
  EXPECT_THAT(Read(Bytes()), ElementsAre());
}

// Every page size, both byte orders, with checksums, with values over several
// pages, and grown and shrunk.
TEST_F(DbFileTest, WhateverLibdbMakes) {
  for (const uint32_t page_size : {512u, 4096u, 65536u}) {
    for (const bool big : {false, true}) {
      for (const bool checksum : {false, true}) {
        Entries all;
        std::map<std::string, std::string> expected;
        for (int i = 0; i < 3000; ++i) {
          const std::string key = absl::StrCat("user", i, "@example.org");
          const std::string value(i % 100 == 0 ? i * 7 : i % 50, 'a' + i % 26);
          all.emplace_back(key, value);
          expected.emplace(key, value);
        }
        const std::string long_key(2000, 'k');
        all.emplace_back(long_key, "v");
        expected.emplace(long_key, "v");
        WriteDbFile(
            path_, all,
            {.page_size = page_size, .checksum = checksum, .big_endian = big});
        EXPECT_EQ(Read(Bytes()), expected)
            << page_size << " " << big << " " << checksum;
        std::vector<std::string> removed;
        for (int i = 0; i < 3000; i += 3) {
          removed.push_back(all[i].first);
          expected.erase(all[i].first);
        }
        RemoveFromDbFile(path_, removed);
        EXPECT_EQ(Read(Bytes()), expected)
            << page_size << " " << big << " " << checksum;
      }
    }
  }
}

TEST_F(DbFileTest, OtherFilesAreNamed) {
  EXPECT_EQ(Error("root: joe\n"), "/t.db: not a Berkeley DB hash file");
  EXPECT_EQ(Error(std::string(4096, '\0')),
            "/t.db: not a Berkeley DB hash file");
  WriteDbFile(path_, {{"a", "b"}}, {.btree = true});
  EXPECT_EQ(Error(Bytes()), "/t.db: a Berkeley DB btree file, not a hash file");
  WriteDbFile(path_, {{"a", "b"}, {"a", "c"}}, {.duplicates = true});
  EXPECT_EQ(Error(Bytes()),
            "/t.db: a Berkeley DB file with several values of one key");
}

TEST_F(DbFileTest, DamageIsRefused) {
  WriteDbFile(path_, {{"a", std::string(3000, 'x')}}, {.page_size = 512});
  const std::string good = Bytes();
  EXPECT_THAT(Error(good.substr(0, good.size() - 512)),
              HasSubstr("shorter than it says"));
  std::string bad = good;
  bad[20] = 3;  // page size 515
  EXPECT_THAT(Error(bad), HasSubstr("damaged"));
  bad = good;
  bad[16] = 99;
  EXPECT_THAT(Error(bad), HasSubstr("unknown version 99"));
  // Every next-page number of the long value's chain, made to point at the
  // chain's first page: it must end.
  int rings = 0;
  for (size_t page = 512; page + 512 <= good.size(); page += 512) {
    if (good[page + 25] != 7) continue;
    bad = good;
    bad[page + 16] = static_cast<char>(page / 512);
    rings += ParseDbFile("/t.db", bad).ok() ? 0 : 1;
  }
  EXPECT_GT(rings, 3);
}

}  // namespace
}  // namespace holdfast
