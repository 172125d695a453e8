#include "ctl/submission/offline_spool.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::MatchesRegex;

TEST(OfflineLine, KeepsBlindRecipients) {
  EXPECT_EQ(*OfflineLine({"-t", "-f", "a@b"}, {"c@d", "-e@f"}),
            "smtpd-offline-1|-t|-f|a@b|<c@d>|<-e@f>");
  EXPECT_EQ(OfflineLine({"a|b"}, {}).status().message(),
            "a|b contains illegal character");
  EXPECT_FALSE(OfflineLine({"-F", "x\n-f"}, {}).ok());
  EXPECT_FALSE(OfflineLine({}, {"\"a|b\"@c"}).ok());
}

TEST(StoreOffline, WritesOneFile) {
  std::string folder =
      std::string(getenv("TEST_TMPDIR") != nullptr ? getenv("TEST_TMPDIR")
                                                   : "/tmp") +
      "/offlineXXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  FILE* body = tmpfile();
  fputs("text\n", body);
  fflush(body);
  Submission submission;
  submission.head = "Subject: x\n\n";
  submission.body_fd = fileno(body);
  ASSERT_TRUE(StoreOffline(folder, "-t|a@b", submission,
                           absl::FromUnixSeconds(1795324049))
                  .ok());
  fclose(body);
  DIR* dir = opendir(folder.c_str());
  std::string name;
  int files = 0;
  while (const dirent* entry = readdir(dir)) {
    if (entry->d_name[0] == '.') continue;
    name = entry->d_name;
    ++files;
  }
  closedir(dir);
  EXPECT_EQ(files, 1);
  EXPECT_THAT(name, MatchesRegex("1795324049\\.[a-zA-Z0-9]+"));
  const std::string path = folder + "/" + name;
  struct stat st;
  ASSERT_EQ(stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600u);
  std::ifstream file(path);
  const std::string contents{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(contents, "-t|a@b\nSubject: x\n\ntext\n");
  unlink(path.c_str());
  rmdir(folder.c_str());
}

TEST(StoreOffline, SaysWhatIsWrong) {
  Submission submission;
  EXPECT_EQ(
      StoreOffline("/nonexistent/offline", "", submission, absl::UnixEpoch())
          .message(),
      "/nonexistent/offline: No such file or directory");
}

}  // namespace
}  // namespace holdfast
