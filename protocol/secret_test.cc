#include "protocol/secret.h"

#include <gtest/gtest.h>

#include <new>
#include <string>

namespace holdfast {
namespace {

TEST(Secret, ComparesAllOfIt) {
  EXPECT_TRUE(SecretsEqual("", ""));
  EXPECT_TRUE(SecretsEqual("abc", "abc"));
  EXPECT_FALSE(SecretsEqual("abc", "abd"));
  EXPECT_FALSE(SecretsEqual("abc", "xbc"));
  EXPECT_FALSE(SecretsEqual("abc", "abcd"));
  EXPECT_FALSE(
      SecretsEqual(absl::string_view("a\0b", 3), absl::string_view("a\0c", 3)));
}

TEST(Secret, WipesWhatItTakes) {
  std::string text = "correct horse battery staple";
  char* const bytes = text.data();
  const Secret secret(std::move(text));
  EXPECT_EQ(secret.text(), "correct horse battery staple");
  EXPECT_EQ(std::string(bytes, 5), std::string(5, '\0'));
}

// Short texts lie inside the object, so the memory can be looked at while it is
// still ours.
TEST(Secret, LeavesNothingBehind) {
  alignas(Secret) unsigned char room[sizeof(Secret)] = {};
  const auto left = [bytes = static_cast<volatile unsigned char*>(room)] {
    std::string copy;
    for (size_t i = 0; i < sizeof(Secret); ++i) {
      copy.push_back(static_cast<char>(bytes[i]));
    }
    return copy.find("hunter") != std::string::npos;
  };
  auto* secret = new (room) Secret(absl::string_view("hunter"));
  EXPECT_TRUE(left());
  Secret moved = std::move(*secret);
  EXPECT_FALSE(left());
  *secret = std::move(moved);
  EXPECT_EQ(secret->text(), "hunter");
  EXPECT_TRUE(left());
  secret->~Secret();
  EXPECT_FALSE(left());
}

}  // namespace
}  // namespace holdfast
