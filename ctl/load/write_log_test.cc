#include "ctl/load/write_log.h"

#include <endian.h>

#include <fstream>
#include <set>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

constexpr size_t kUnit = 512;
constexpr uint64_t kNoMarkers = uint64_t{1} << 40;

// Writes a log as dm-log-writes would.
class LogMaker {
 public:
  void Entry(uint64_t sector, uint64_t flags, const std::string& data) {
    const uint64_t fields[] = {htole64(sector), htole64(data.size() / kUnit),
                               htole64(flags), 0};
    std::string block(reinterpret_cast<const char*>(fields), sizeof(fields));
    block.resize(kUnit);
    body_ += block + data;
    ++count_;
  }
  std::string Save(const std::string& name, uint64_t magic = 0x6a736677736872) {
    const uint64_t fields[] = {htole64(magic), htole64(1), htole64(count_)};
    std::string block(reinterpret_cast<const char*>(fields), sizeof(fields));
    const uint32_t unit = htole32(kUnit);
    block.append(reinterpret_cast<const char*>(&unit), sizeof(unit));
    block.resize(kUnit);
    const std::string path = testing::TempDir() + "/" + name;
    std::ofstream(path, std::ios::binary) << block << body_;
    return path;
  }

 private:
  std::string body_;
  uint64_t count_ = 0;
};

std::string Sectors(char c, size_t count) {
  return std::string(count * kUnit, c);
}

// One letter for each of the first 8 sectors of the image.
std::string State(const WriteLog& log, size_t cut, CutMode mode, uint64_t seed,
                  uint64_t markers = kNoMarkers) {
  const std::string path = testing::TempDir() + "/image";
  std::ofstream(path, std::ios::binary) << Sectors('.', 8);
  EXPECT_TRUE(log.Replay(path, cut, mode, seed, markers).ok());
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  std::string letters;
  for (size_t i = 0; i < 8; ++i) letters += text.str()[i * kUnit];
  return letters;
}

WriteLog Example() {
  LogMaker maker;
  maker.Entry(0, 0, Sectors('a', 2));
  maker.Entry(0, 1, "");  // flush
  maker.Entry(1, 0, Sectors('b', 2));
  maker.Entry(4, 0, Sectors('c', 2));
  maker.Entry(7, 0, Sectors('m', 1));
  maker.Entry(0, 1, "");
  return *WriteLog::Open(maker.Save("log"));
}

TEST(WriteLogTest, FlushedWritesAreAlwaysThere) {
  const WriteLog log = Example();
  ASSERT_EQ(log.entries().size(), 6u);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    for (const CutMode mode : {CutMode::kNone, CutMode::kAll, CutMode::kHalf,
                               CutMode::kTorn, CutMode::kPrefix}) {
      EXPECT_EQ(State(log, 2, mode, seed), "aa......");
      EXPECT_EQ(State(log, 6, mode, seed), "abb.cc.m");
    }
  }
}

TEST(WriteLogTest, OpenWritesDependOnTheMode) {
  const WriteLog log = Example();
  EXPECT_EQ(State(log, 4, CutMode::kNone, 1), "aa......");
  EXPECT_EQ(State(log, 4, CutMode::kAll, 1), "abb.cc..");
  EXPECT_EQ(State(log, 0, CutMode::kAll, 1), "........");
  std::set<std::string> half, torn, prefix;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    half.insert(State(log, 4, CutMode::kHalf, seed));
    torn.insert(State(log, 4, CutMode::kTorn, seed));
    prefix.insert(State(log, 4, CutMode::kPrefix, seed));
  }
  EXPECT_EQ(half, (std::set<std::string>{"aa......", "abb.....", "aa..cc..",
                                         "abb.cc.."}));
  EXPECT_EQ(torn.size(), 16u);  // four sectors, each there or not
  EXPECT_TRUE(prefix.count("abb..c..")) << "the last of a prefix is torn";
  EXPECT_FALSE(prefix.count("aa..cc..")) << "and nothing before it is missing";
}

TEST(WriteLogTest, SameSeedSameState) {
  const WriteLog log = Example();
  for (uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_EQ(State(log, 4, CutMode::kTorn, seed),
              State(log, 4, CutMode::kTorn, seed));
  }
}

TEST(WriteLogTest, MarkersAreNotSubjectToTheCut) {
  EXPECT_EQ(State(Example(), 5, CutMode::kNone, 1, 7 * kUnit), "aa.....m");
}

TEST(WriteLogTest, RefusesOtherFiles) {
  LogMaker maker;
  maker.Entry(0, 0, Sectors('a', 1));
  EXPECT_FALSE(WriteLog::Open(maker.Save("other", 7)).ok());
  EXPECT_FALSE(WriteLog::Open(testing::TempDir() + "/missing").ok());
  const std::string path = maker.Save("short");
  std::ofstream(path, std::ios::binary | std::ios::trunc) << "short";
  EXPECT_FALSE(WriteLog::Open(path).ok());
  EXPECT_FALSE(ParseCutMode("some").ok());
}

}  // namespace
}  // namespace holdfast
