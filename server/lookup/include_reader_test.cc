#include "server/lookup/include_reader.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <fstream>
#include <vector>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

class IncludeReaderTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& contents) {
    const std::string path = absl::StrCat(folder_, "/", name);
    std::ofstream(path) << contents;
    return path;
  }

  std::string folder_ = [] {
    std::string path = absl::StrCat(getenv("TEST_TMPDIR"), "/XXXXXX");
    EXPECT_NE(mkdtemp(path.data()), nullptr);
    return path;
  }();
};

TEST_F(IncludeReaderTest, RegularFilesOnly) {
  EXPECT_EQ(ReadIncludeFile(Write("list", "joe\njim\n")).value(), "joe\njim\n");
  const std::string fifo = absl::StrCat(folder_, "/fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  for (const std::string& path : {fifo, folder_, std::string("/dev/zero"),
                                  absl::StrCat(folder_, "/missing")}) {
    EXPECT_EQ(ReadIncludeFile(path).status(),
              absl::NotFoundError(absl::StrCat(
                  "warn: failed to open include file \"", path, "\".")));
  }
}

TEST_F(IncludeReaderTest, SizeIsBounded) {
  EXPECT_TRUE(
      ReadIncludeFile(Write("most", std::string(kMaxIncludeBytes, 'x'))).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(
      ReadIncludeFile(Write("more", std::string(kMaxIncludeBytes + 1, 'x')))
          .status()));
}

TEST_F(IncludeReaderTest, ReadsOnItsThread) {
  const std::unique_ptr<EventLoop> loop = MakeUvEventLoop();
  const std::string path = Write("list", "joe");
  std::vector<std::string> results;
  int left = static_cast<int>(kMaxWaitingIncludes) + 1;
  bool inside = true;
  {
    IncludeReader reader(loop.get());
    for (int i = left; i > 0; --i) {
      reader.Read(path, [&](absl::StatusOr<std::string> contents) {
        EXPECT_FALSE(inside);
        results.push_back(contents.ok() ? *contents : "exhausted");
        if (--left == 0) loop->Stop();
      });
    }
    inside = false;
    loop->Run();
  }
  EXPECT_EQ(std::count(results.begin(), results.end(), "joe"),
            static_cast<int>(kMaxWaitingIncludes));
  EXPECT_EQ(std::count(results.begin(), results.end(), "exhausted"), 1);
}

TEST_F(IncludeReaderTest, NothingIsCalledAfterTheEnd) {
  const std::unique_ptr<EventLoop> loop = MakeUvEventLoop();
  {
    IncludeReader reader(loop.get());
    reader.Read(Write("list", "joe"), [](absl::StatusOr<std::string>) {
      ADD_FAILURE() << "the reader is gone";
    });
  }
  loop->Post([&] { loop->Stop(); });
  loop->Run();
}

}  // namespace
}  // namespace holdfast
