#include "storage/owner_lock.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

std::string NewPath() {
  const char* const base = std::getenv("TEST_TMPDIR");
  std::string folder =
      absl::StrCat(base == nullptr ? "/tmp" : base, "/lock.XXXXXX");
  if (mkdtemp(folder.data()) == nullptr) std::abort();
  return folder + "/owner.lock";
}

TEST(OwnerLockTest, OneOwnerOrManyReaders) {
  const std::string path = NewPath();
  EXPECT_EQ(OwnerLock::Take(path, false).status().code(),
            absl::StatusCode::kNotFound);
  {
    auto owner = OwnerLock::Take(path, true);
    ASSERT_TRUE(owner.ok());
    const absl::Status taken = OwnerLock::Take(path, true).status();
    EXPECT_EQ(taken.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(taken.message(),
              absl::StrCat(path, ": held by process ", getpid()));
    EXPECT_FALSE(OwnerLock::Take(path, false).ok());
  }
  auto one = OwnerLock::Take(path, false);
  auto two = OwnerLock::Take(path, false);
  EXPECT_TRUE(one.ok() && two.ok());
  EXPECT_EQ(OwnerLock::Take(path, true).status().message(),
            absl::StrCat(path, ": held by readers"));
}

TEST(OwnerLockTest, SaysWhetherTheLastOwnerEndedCleanly) {
  const std::string path = NewPath();
  {
    auto lock = OwnerLock::Take(path, true);
    EXPECT_TRUE(lock->was_clean());  // there was none
  }
  {
    auto lock = OwnerLock::Take(path, true);
    EXPECT_FALSE(lock->was_clean());
    lock->MarkClean();
  }
  // A reader changes nothing.
  EXPECT_TRUE(OwnerLock::Take(path, false).ok());
  EXPECT_TRUE(OwnerLock::Take(path, true)->was_clean());
}

TEST(OwnerLockTest, ItGoesWithTheProcess) {
  const std::string path = NewPath();
  const pid_t child = fork();
  if (child == 0) {
    auto lock = OwnerLock::Take(path, true);
    _exit(lock.ok() ? 0 : 1);
  }
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  auto lock = OwnerLock::Take(path, true);
  ASSERT_TRUE(lock.ok());
  EXPECT_FALSE(lock->was_clean());
}

TEST(OwnerLockTest, ALinkIsNotFollowed) {
  const std::string path = NewPath();
  ASSERT_EQ(symlink("/tmp/elsewhere", path.c_str()), 0);
  EXPECT_FALSE(OwnerLock::Take(path, true).ok());
}

}  // namespace
}  // namespace holdfast
