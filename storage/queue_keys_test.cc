#include "storage/queue_keys.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

namespace holdfast {
namespace {

const std::string kOne(32, '1'), kTwo(32, '2');

// What standard input has, from now on.
void SetInput(const std::string& text) {
  const int fd = memfd_create("input", MFD_CLOEXEC);
  ASSERT_EQ(write(fd, text.data(), text.size()),
            static_cast<ssize_t>(text.size()));
  ASSERT_EQ(lseek(fd, 0, SEEK_SET), 0);
  ASSERT_EQ(dup2(fd, STDIN_FILENO), STDIN_FILENO);
  close(fd);
}

TEST(QueueKeys, AsTheyAre) {
  const auto keys = ReadStoreKeys(kOne, kTwo);
  ASSERT_TRUE(keys.ok());
  EXPECT_EQ(keys->current, kOne);
  EXPECT_EQ(keys->previous, kTwo);
  const auto none = ReadStoreKeys(std::nullopt, kTwo);
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(none->current, "");
  EXPECT_EQ(none->previous, kTwo);
}

TEST(QueueKeys, LinesOfStandardInput) {
  SetInput(kOne + "\n" + kTwo + "\nrest");
  const auto keys = ReadStoreKeys("stdin", "-");
  ASSERT_TRUE(keys.ok()) << keys.status();
  EXPECT_EQ(keys->current, kOne);
  EXPECT_EQ(keys->previous, kTwo);
  char rest[8] = {};
  EXPECT_EQ(read(STDIN_FILENO, rest, sizeof rest), 4);
  // Without an end of line.
  SetInput(kTwo);
  EXPECT_EQ(ReadStoreKeys("-", std::nullopt)->current, kTwo);
}

TEST(QueueKeys, WhatIsNoKey) {
  for (const std::string& line : {std::string(), std::string("short"),
                                  kOne + "x", std::string(100000, 'x')}) {
    SetInput(line + "\n");
    const auto keys = ReadStoreKeys("stdin", std::nullopt);
    EXPECT_EQ(keys.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(keys.status().message(),
              "crypto_setup: invalid key for queue encryption");
  }
}

}  // namespace
}  // namespace holdfast
