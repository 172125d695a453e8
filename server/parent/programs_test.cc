#include "server/parent/programs.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "config/parser.h"
#include "server/door/door.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class ProgramsTest : public testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/programs_test.XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    root_ = folder;
    for (const char* name : {"own", "theirs"}) {
      folders_.push_back(absl::StrCat(root_, "/", name));
      ASSERT_EQ(mkdir(folders_.back().c_str(), 0700), 0);
    }
    for (const char* name :
         {"own/filter-a", "own/table-x", "theirs/filter-a", "theirs/filter-b"})
      MakeProgram(name);
  }
  void TearDown() override {
    for (const std::string& path : made_) unlink(path.c_str());
    for (const std::string& folder : folders_) rmdir(folder.c_str());
    rmdir(root_.c_str());
  }
  void MakeProgram(const std::string& name, mode_t mode = 0700) {
    made_.push_back(absl::StrCat(root_, "/", name));
    ASSERT_TRUE(OwnedFd(open(made_.back().c_str(), O_CREAT | O_WRONLY, mode)));
  }
  std::shared_ptr<const Config> Parse(const std::string& text) {
    ParseOptions options;
    options.path = "/c";
    ParseResult result =
        ParseConfig(options, [&](const std::string&) -> std::string {
          return absl::StrCat(text, "\nmatch reject\n");
        });
    EXPECT_NE(result.config, nullptr)
        << testing::PrintToString(result.messages);
    return result.config;
  }
  // What the shell is told of a filter with this command.
  std::string Told(const std::string& command) {
    ProgramSpec spec;
    spec.command = command;
    spec.folders = folders_;
    const ProgramArguments arguments = spec.Arguments();
    EXPECT_EQ(arguments.path, "/bin/sh");
    EXPECT_EQ(arguments.words.size(), 3u);
    EXPECT_EQ(arguments.words[1], "-c");
    return arguments.words[2];
  }

  std::string root_;
  std::vector<std::string> folders_, made_;
};

TEST_F(ProgramsTest, ARelativeCommandIsLookedFor) {
  EXPECT_EQ(Told("filter-a -x \"y z\""),
            absl::StrCat("exec ", root_, "/own/filter-a -x \"y z\""));
  EXPECT_EQ(Told("filter-b"), absl::StrCat("exec ", root_, "/theirs/filter-b"));
  EXPECT_EQ(Told("filter-c -d"),
            absl::StrCat("exec ", root_, "/own/filter-c -d"));
  EXPECT_EQ(Told("/bin/cat -u | tee x"), "exec /bin/cat -u | tee x");
  // One that was installed later is found at the next start.
  MakeProgram("theirs/filter-c");
  EXPECT_EQ(Told("filter-c -d"),
            absl::StrCat("exec ", root_, "/theirs/filter-c -d"));
}

TEST_F(ProgramsTest, TheProcessOfATable) {
  ProgramSpec spec;
  spec.room = Room::kLookup;
  spec.name = "people";
  spec.backend = "x";
  spec.table_path = "/etc/people.conf";
  spec.folders = folders_;
  const ProgramArguments arguments = spec.Arguments();
  EXPECT_EQ(arguments.path, absl::StrCat(root_, "/own/table-x"));
  EXPECT_THAT(arguments.words, ElementsAre("people", "/etc/people.conf"));
  spec.table_path.clear();
  EXPECT_THAT(spec.Arguments().words, ElementsAre("people"));
  EXPECT_TRUE(HasTableProgram("x", folders_));
  EXPECT_FALSE(HasTableProgram("y", folders_));
  MakeProgram("own/table-y", 0600);
  EXPECT_FALSE(HasTableProgram("y", folders_));
}

TEST_F(ProgramsTest, WhatAConfigurationHasRun) {
  const auto config = Parse(
      "proc p \"/p -v\" user u group g chroot \"/j\"\n"
      "proc unused \"/u\"\n"
      "filter a proc p\nfilter b proc-exec \"filter-a\"\n"
      "filter c proc unused\n"
      "table t x:/etc/t\ntable list { a }\n"
      "listen on socket filter { a, b }");
  const auto programs = ProgramsOf(*config, /*privileged=*/true, folders_);
  ASSERT_EQ(programs.size(), 3u);
  EXPECT_EQ(programs[0].room, Room::kFilters);
  EXPECT_EQ(programs[0].name, "b");
  EXPECT_EQ(programs[0].user, "_smtpd");
  EXPECT_EQ(programs[1].name, "p");
  EXPECT_EQ(programs[1].command, "/p -v");
  EXPECT_EQ(programs[1].user, "u");
  EXPECT_EQ(programs[1].group, "g");
  EXPECT_EQ(programs[1].chroot, "/j");
  EXPECT_EQ(programs[2].room, Room::kLookup);
  EXPECT_EQ(programs[2].name, "t");
  EXPECT_EQ(programs[2].backend, "x");
  EXPECT_EQ(programs[2].table_path, "/etc/t");
  EXPECT_EQ(programs[2].user, "_smtpd");
  // An ordinary user runs all as himself.
  for (const ProgramSpec& one : ProgramsOf(*config, false, folders_)) {
    EXPECT_EQ(one.user, "");
    EXPECT_EQ(one.group, "");
    EXPECT_EQ(one.chroot, "");
  }
}

TEST_F(ProgramsTest, WhatIsMissingIsSaid) {
  const auto config = Parse(absl::StrCat(
      "proc a \"filter-a -x\"\nproc b \"/bin/sh -c x\"\nproc c \"filter-c\"\n"
      "proc d \"/nonexistent/filter -x\" user nobody-of-that-name\n"
      "proc e \"$HOME/x\"\nproc f \"/filter-a\" chroot \"",
      root_, "/own\"\n", "proc g \"/filter-z\" chroot \"", root_,
      "/own\" group no-such-group"));
  EXPECT_THAT(
      MissingPrograms(*config, folders_),
      ElementsAre("/c:3: warning: processor \"c\": no program filter-c",
                  "/c:4: warning: processor \"d\": no program "
                  "/nonexistent/filter",
                  "/c:4: warning: processor \"d\": no user "
                  "nobody-of-that-name",
                  "/c:7: warning: processor \"g\": no program /filter-z",
                  "/c:7: warning: processor \"g\": no group no-such-group"));
  EXPECT_THAT(MissingPrograms(*Parse("proc a \"filter-b\""), folders_),
              IsEmpty());
}

TEST_F(ProgramsTest, OursAreFoundBeforeThoseOfOthers) {
  const std::vector<std::string> folders = ProgramFolders({"/own", "/own2"});
  ASSERT_GT(folders.size(), 3u);
  EXPECT_EQ(folders[0], "/own");
  EXPECT_EQ(folders[1], "/own2");
  EXPECT_THAT(folders, testing::Contains("/usr/libexec/opensmtpd"));
}

TEST(ProgramArguments, ThereAndBack) {
  ProgramArguments arguments;
  arguments.user = "u";
  arguments.chroot = "/x y";
  arguments.path = "/bin/sh";
  arguments.words = {"/bin/sh", "-c", "exec a\n'b'"};
  const absl::StatusOr<ProgramArguments> again =
      ParseProgramArguments(ToArguments(arguments));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->user, "u");
  EXPECT_EQ(again->group, "");
  EXPECT_EQ(again->chroot, "/x y");
  EXPECT_EQ(again->path, "/bin/sh");
  EXPECT_EQ(again->words, arguments.words);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{},
        {"--program"},
        {"--program", "u", "", "", "/x"},
        {"--program", "u", "", "", "", "x"},
        {"--other", "u", "", "", "/x", "x"}}) {
    EXPECT_FALSE(ParseProgramArguments(words).ok());
  }
}

}  // namespace
}  // namespace holdfast
