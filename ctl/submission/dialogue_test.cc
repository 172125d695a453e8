#include "ctl/submission/dialogue.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

// A daemon whose answers are all there beforehand.
class DialogueTest : public ::testing::Test {
 protected:
  DialogueTest() {
    submission_.sender = "a@b";
    submission_.recipients = {"c@d", "e@f"};
    submission_.head = "Subject: x\n\n";
    body_ = tmpfile();
    fputs(".dot\nend\n", body_);
    fflush(body_);
    submission_.body_fd = fileno(body_);
  }
  ~DialogueTest() override { fclose(body_); }

  SubmissionResult Run(absl::string_view replies) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) abort();
    EXPECT_EQ(write(fds[1], replies.data(), replies.size()),
              static_cast<ssize_t>(replies.size()));
    shutdown(fds[1], SHUT_WR);
    verbose_.clear();
    const SubmissionResult result =
        Submit(fds[0], submission_, [this](absl::string_view line) {
          verbose_.append(line.data(), line.size());
        });
    close(fds[0]);
    sent_.clear();
    char buffer[65536];
    for (ssize_t n; (n = read(fds[1], buffer, sizeof buffer)) > 0;)
      sent_.append(buffer, static_cast<size_t>(n));
    close(fds[1]);
    return result;
  }

  Submission submission_;
  FILE* body_;
  std::string sent_, verbose_;
};

constexpr char kBanner[] = "220 mx ESMTP\r\n250-mx Hello\r\n250 HELP\r\n";

TEST_F(DialogueTest, Accepted) {
  submission_.notify = "NEVER";
  submission_.ret = "HDRS";
  submission_.envid = "id";
  const SubmissionResult r = Run(
      std::string(kBanner) +
      "250 Ok\r\n250 Ok\r\n250 Ok\r\n354 go\r\n250 2.0.0 0a accepted\r\n221 "
      "Bye\r\n");
  EXPECT_EQ(r.kind, SubmissionResult::kAccepted);
  EXPECT_EQ(sent_,
            "EHLO localhost\r\nMAIL FROM:<a@b> RET=HDRS ENVID=id\r\n"
            "RCPT TO:<c@d> NOTIFY=NEVER\r\nRCPT TO:<e@f> NOTIFY=NEVER\r\n"
            "DATA\r\nSubject: x\r\n\r\n..dot\r\nend\r\n.\r\nQUIT\r\n");
  EXPECT_THAT(verbose_, HasSubstr("<<< 220 mx ESMTP\n>>> EHLO localhost\n<<< "
                                  "250-mx Hello\n"));
}

TEST_F(DialogueTest, OneRefusedRecipientRefusesAll) {
  const SubmissionResult r =
      Run(std::string(kBanner) +
          "250 Ok\r\n250 Ok\r\n550 Invalid recipient: <e@f>\r\n");
  EXPECT_EQ(r.kind, SubmissionResult::kRefused);
  EXPECT_EQ(r.line, "550 Invalid recipient: <e@f>");
  EXPECT_THAT(sent_, EndsWith("RCPT TO:<e@f>\r\n"));
}

TEST_F(DialogueTest, RefusedAtTheEnd) {
  const SubmissionResult r =
      Run(std::string(kBanner) +
          "250 Ok\r\n250 Ok\r\n250 Ok\r\n354 go\r\n554 too big\r\n");
  EXPECT_EQ(r.kind, SubmissionResult::kRefused);
  EXPECT_EQ(r.line, "554 too big");
}

// P1: without the 250 nothing is known to be durable.
TEST_F(DialogueTest, NoAnswerIsNoAnswer) {
  EXPECT_EQ(
      Run(std::string(kBanner) + "250 Ok\r\n250 Ok\r\n250 Ok\r\n354 go\r\n")
          .kind,
      SubmissionResult::kUnknown);
  EXPECT_EQ(Run("").kind, SubmissionResult::kNotConnected);
  EXPECT_EQ(Run(kBanner).kind, SubmissionResult::kNotConnected);
  EXPECT_EQ(Run("421 closed\r\n").kind, SubmissionResult::kNotAllowed);
  EXPECT_EQ(Run("garbage\r\n").kind, SubmissionResult::kNotConnected);
  EXPECT_EQ(Run(std::string(10000, '2')).kind, SubmissionResult::kNotConnected);
}

}  // namespace
}  // namespace holdfast
