#include "server/tables/sealed_file.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

class SealedFileTest : public testing::Test {
 protected:
  ~SealedFileTest() override { std::remove(path_.c_str()); }
  void Write(const std::string& text) const { std::ofstream(path_) << text; }

  const std::string path_ =
      absl::StrCat(testing::TempDir(), "/sealed_file_test.", getpid());
};

TEST_F(SealedFileTest, IsWhatTheFileWas) {
  Write("a one\n");
  const auto sealed = SealFile(path_);
  ASSERT_TRUE(sealed.ok()) << sealed.status();
  EXPECT_EQ(sealed->stamp, StampOf(path_).value());
  Write("a longer text\n");
  EXPECT_FALSE(sealed->stamp == StampOf(path_).value());
  EXPECT_LT(write(sealed->memory.get(), "x", 1), 0);
  EXPECT_LT(ftruncate(sealed->memory.get(), 0), 0);
  Table table("t", Table::Kind::kMap, "static", path_);
  const auto contents = ParseSealed(sealed->memory.get(), table);
  ASSERT_TRUE(contents.ok()) << contents.status();
  ASSERT_EQ((*contents)->size(), 1u);
  EXPECT_EQ((*contents)->at(0).second, "one");
}

TEST_F(SealedFileTest, EmptyAndBroken) {
  Table table("t", Table::Kind::kMap, "static", "/etc/t");
  EXPECT_EQ((*ParseSealed(SealBytes("")->get(), table))->size(), 0u);
  EXPECT_EQ(ParseSealed(SealBytes("a b\nc\n")->get(), table).status().message(),
            "/etc/t:2 invalid map entry");
  Table db("t", Table::Kind::kDynamic, "db", "/etc/t.db");
  EXPECT_EQ(ParseSealed(SealBytes("a b\n")->get(), db).status().message(),
            "/etc/t.db: not a Berkeley DB hash file");
}

TEST_F(SealedFileTest, WhatIsNoFile) {
  EXPECT_EQ(SealFile(path_).status().message(), "No such file or directory");
  EXPECT_EQ(StampOf(path_).status().message(), "No such file or directory");
  EXPECT_EQ(SealFile("/").status().message(), "Is a directory");
  EXPECT_EQ(SealFile("/dev/zero").status().message(), "Not a regular file");
  // But for the one that stands for an empty file.
  const auto nothing = SealFile("/dev/null");
  ASSERT_TRUE(nothing.ok()) << nothing.status();
  Table table("t", Table::Kind::kMap, "static", "/dev/null");
  EXPECT_TRUE((*ParseSealed(nothing->memory.get(), table))->empty());
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_EQ(SealFile(path_).status().message(), "Not a regular file");
}

TEST_F(SealedFileTest, OnlySealedMemoryIsRead) {
  const OwnedFd open(memfd_create("open", MFD_ALLOW_SEALING));
  Table table("t", Table::Kind::kMap, "static", "/etc/t");
  EXPECT_EQ(ParseSealed(open.get(), table).status().message(),
            "/etc/t: not in sealed memory");
}

}  // namespace
}  // namespace holdfast
