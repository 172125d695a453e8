// testdata/config: what the parser says, to the letter.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "config/parser.h"

namespace holdfast {
namespace {

namespace fs = std::filesystem;

constexpr char kFolder[] = "testdata/config/";

absl::StatusOr<std::string> ReadTestFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError("No such file or directory");
  return std::string(std::istreambuf_iterator<char>(in), {});
}

std::vector<fs::path> Configurations(const std::string& folder) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(kFolder + folder)) {
    if (entry.path().extension() == ".conf") found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

ParseResult Parse(const fs::path& path) {
  ParseOptions options;
  options.path = "c.conf";
  options.server_name = "mx.example.org";
  options.local_addresses = {"127.0.0.1", "::1", "192.0.2.1"};
  options.has_table_program = [](absl::string_view word) {
    return word == "testprog";
  };
  return ParseConfig(options, [&](const std::string& name) {
    if (name == "c.conf") return ReadTestFile(path);
    return ReadTestFile(fs::path(std::string(kFolder) + "files") /
                        fs::path(name).filename());
  });
}

// What `smtpd -n` would add: in NAME.warnings, if anything.
void ExpectWarnings(const fs::path& path, const ParseResult& result) {
  fs::path expected = path;
  expected.replace_extension(".warnings");
  std::string text;
  for (const std::string& line : result.warnings) text += line + "\n";
  EXPECT_EQ(text, ReadTestFile(expected).value_or(""));
}

TEST(Golden, BadConfigurationsSayExactlyThis) {
  const std::vector<fs::path> all = Configurations("bad");
  ASSERT_GT(all.size(), 250u);
  for (const fs::path& path : all) {
    SCOPED_TRACE(path.string());
    fs::path expected = path;
    expected.replace_extension(".expected");
    const ParseResult result = Parse(path);
    EXPECT_EQ(result.config, nullptr);
    EXPECT_EQ(absl::StrJoin(result.messages, "\n") + "\n",
              ReadTestFile(expected).value());
  }
}

TEST(Golden, GoodConfigurationsSayNothing) {
  const std::vector<fs::path> all = Configurations("ok");
  ASSERT_GT(all.size(), 50u);
  for (const fs::path& path : all) {
    SCOPED_TRACE(path.string());
    const ParseResult result = Parse(path);
    EXPECT_NE(result.config, nullptr);
    EXPECT_EQ(absl::StrJoin(result.messages, "\n"), "");
    ExpectWarnings(path, result);
  }
}

}  // namespace
}  // namespace holdfast
