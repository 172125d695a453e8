#include "server/auth/forward_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using Result = ForwardAnswer::Result;

class ForwardFileTest : public testing::Test {
 protected:
  ForwardFileTest() {
    // Not where tests usually write: other users must be able to get here.
    std::string name = "/tmp/holdfast-home.XXXXXX";
    home_ = mkdtemp(&name[0]);
    path_ = absl::StrCat(home_, "/.forward");
  }
  ~ForwardFileTest() override { std::filesystem::remove_all(home_); }

  void Write(const std::string& text, mode_t mode = 0644) {
    std::ofstream(path_, std::ios::binary) << text;
    ASSERT_EQ(chmod(path_.c_str(), mode), 0);
  }
  ForwardAnswer Read() { return ReadForward(home_, geteuid()); }

  std::string home_;
  std::string path_;
};

TEST_F(ForwardFileTest, ThereIsNone) {
  ForwardAnswer answer = Read();
  EXPECT_EQ(answer.result, Result::kNone);
  EXPECT_EQ(answer.error, "");
  for (const std::string& home : {home_ + "/gone", std::string("/dev/null")}) {
    answer = ReadForward(home, geteuid());
    EXPECT_EQ(answer.result, Result::kNone);
    EXPECT_TRUE(absl::StartsWith(
        answer.error, "warn: smtpd: parent_forward_open: " + home + ": "));
  }
}

TEST_F(ForwardFileTest, Contents) {
  Write("joe\njim@example.org\n", 0600);
  ForwardAnswer answer = Read();
  EXPECT_EQ(answer.result, Result::kFound);
  EXPECT_EQ(answer.contents, "joe\njim@example.org\n");
  Write("");
  answer = Read();
  EXPECT_EQ(answer.result, Result::kNone);
  EXPECT_EQ(answer.error, "info: forward file is empty");
}

TEST_F(ForwardFileTest, Size) {
  Write(std::string(kMaxForwardBytes, 'x'));
  EXPECT_EQ(Read().contents.size(), kMaxForwardBytes);
  Write(std::string(kMaxForwardBytes + 1, 'x'));
  const ForwardAnswer answer = Read();
  EXPECT_EQ(answer.result, Result::kError);
  EXPECT_EQ(answer.error, "info: forward file exceeds max size");
  EXPECT_EQ(answer.contents, "");
}

TEST_F(ForwardFileTest, WhatOthersMayWriteTo) {
  for (const mode_t mode : {0664, 0646}) {
    Write("joe\n", mode);
    const ForwardAnswer answer = Read();
    EXPECT_EQ(answer.result, Result::kUnsafe);
    EXPECT_EQ(answer.error, "warn: smtpd: " + path_ + ": insecure file");
    EXPECT_EQ(answer.contents, "");
  }
  Write("joe\n");
  for (const mode_t mode : {0770, 0702}) {
    ASSERT_EQ(chmod(home_.c_str(), mode), 0);
    EXPECT_EQ(Read().result, Result::kUnsafe);
  }
}

TEST_F(ForwardFileTest, SomebodyElses) {
  Write("joe\n");
  EXPECT_EQ(ReadForward(home_, geteuid() + 1).result, Result::kUnsafe);
}

TEST_F(ForwardFileTest, StickyHome) {
  Write("joe\n");
  ASSERT_EQ(chmod(home_.c_str(), 01755), 0);
  const ForwardAnswer answer = Read();
  EXPECT_EQ(answer.result, Result::kError);
  EXPECT_EQ(answer.error,
            "warn: smtpd: parent_forward_open: " + home_ + " is sticky");
}

TEST_F(ForwardFileTest, LinksAndWhatIsNoFile) {
  ASSERT_EQ(symlink("/etc/passwd", path_.c_str()), 0);
  ForwardAnswer answer = Read();
  EXPECT_EQ(answer.result, Result::kUnsafe);
  EXPECT_EQ(answer.error, "warn: smtpd: parent_forward_open: " + path_ +
                              ": cannot follow symbolic links");
  unlink(path_.c_str());
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_EQ(Read().result, Result::kUnsafe);
  unlink(path_.c_str());
  ASSERT_EQ(mkdir(path_.c_str(), 0700), 0);
  EXPECT_EQ(Read().result, Result::kUnsafe);
}

// Only root can be somebody else.
TEST_F(ForwardFileTest, ReadAsTheUserAndRootAgainAfterwards) {
  if (geteuid() != 0) return;
  constexpr uint32_t kSomebody = 65534;
  Write("joe\n", 0600);
  ForwardQuestion question;
  question.name = "virtual";
  question.has_user = true;
  question.uid = question.gid = kSomebody;
  question.home = home_;
  // mkdtemp(3) made the folder root's alone.
  ForwardAnswer answer = AnswerForward(question);
  EXPECT_EQ(answer.result, Result::kError);
  EXPECT_TRUE(absl::EndsWith(answer.error, "Permission denied"));
  EXPECT_EQ(geteuid(), 0u);
  EXPECT_EQ(getegid(), 0u);

  ASSERT_EQ(chown(home_.c_str(), kSomebody, kSomebody), 0);
  ASSERT_EQ(chown(path_.c_str(), kSomebody, kSomebody), 0);
  answer = AnswerForward(question);
  EXPECT_EQ(answer.result, Result::kFound);
  EXPECT_EQ(answer.contents, "joe\n");
  EXPECT_EQ(answer.uid, kSomebody);
  EXPECT_EQ(geteuid(), 0u);

  question.has_user = false;
  question.name = "no such user here";
  EXPECT_EQ(AnswerForward(question).result, Result::kError);
}

}  // namespace
}  // namespace holdfast
