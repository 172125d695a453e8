// The programs smtpctl, mailq and sendmail as people run them, without a
// daemon: what they read from the store, what they leave in the offline folder.
#include <crypt.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "config/config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/scram.h"
#include "storage/body_codec.h"
#include "storage/crypto/key_derivation.h"
#include "storage/queue_store.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Ran {
  int status = -1;
  std::string out, err;
};

std::string ReadAll(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class SmtpctlTest : public ::testing::Test {
 protected:
  SmtpctlTest() {
    spool_ = absl::StrCat(getenv("TEST_TMPDIR"), "/spoolXXXXXX");
    if (mkdtemp(spool_.data()) == nullptr) abort();
    paths_ = PathsBelow(spool_);
    mkdir(paths_.offline.c_str(), 0700);
  }

  // `line` is for the shell, with "smtpctl" first.
  Ran Run(const std::string& line, const std::string& input = "") {
    std::ofstream(spool_ + "/in") << input;
    const std::string command =
        absl::StrCat("SMTPD_SPOOL=", spool_, " ctl/", line, " <", spool_,
                     "/in >", spool_, "/out 2>", spool_, "/err");
    Ran ran;
    const int status = system(command.c_str());
    ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    ran.out = ReadAll(spool_ + "/out");
    ran.err = ReadAll(spool_ + "/err");
    return ran;
  }

  // A store with one message for two recipients.
  void MakeStore() {
    StoreOptions options;
    options.path = paths_.store;
    options.size_limit = 64 << 20;
    options.min_free = 0;
    auto store = QueueStore::Open(std::move(options));
    ASSERT_TRUE(store.ok()) << store.status();
    SmallBody body = CompressBody("Subject: kept\n\nbody\n");
    AcceptMessage accept;
    accept.message = MessageId(0xa1);
    accept.body = body.info;
    accept.stored = body.stored;
    accept.created = absl::FromUnixSeconds(1795324100);
    for (uint32_t low = 1; low <= 2; ++low) {
      Envelope e;
      e.id = MakeEnvelopeId(accept.message, low);
      e.action = "relay";
      e.sockaddr = "local";
      e.helo = e.hostname = "localhost";
      e.sender = {"alice", "example.com"};
      e.rcpt = e.dest = {absl::StrCat("bob", low), "example.net"};
      e.created = accept.created;
      e.expires = accept.created + absl::Hours(96);
      e.routing_key = "example.net";
      accept.envelopes.push_back(e);
    }
    QueueBatch batch;
    batch.push_back(accept);
    absl::Notification done;
    (*store)->Submit(std::move(batch), [&](BatchResult result) {
      EXPECT_TRUE(result.status.ok()) << result.status;
      EXPECT_TRUE(result.operations.at(0).status.ok());
      done.Notify();
    });
    done.WaitForNotification();
  }

  std::vector<std::string> Offline() {
    std::vector<std::string> files;
    DIR* dir = opendir(paths_.offline.c_str());
    while (const dirent* entry = readdir(dir))
      if (entry->d_name[0] != '.')
        files.push_back(paths_.offline + "/" + entry->d_name);
    closedir(dir);
    return files;
  }

  std::string spool_;
  SpoolPaths paths_;
};

TEST_F(SmtpctlTest, ReadsTheStoreWhileTheDaemonIsDown) {
  MakeStore();
  const std::string first =
      "000000a100000001|local|mta||alice@example.com|bob1@example.net|"
      "bob1@example.net|1795324100|1795669700|0|0|offline||\n";
  Ran ran = Run("smtpctl show queue");
  EXPECT_EQ(ran.err, "");
  EXPECT_EQ(ran.status, 0);
  EXPECT_THAT(ran.out, StartsWith(first));
  EXPECT_THAT(ran.out, HasSubstr("\n000000a100000002|"));
  EXPECT_THAT(Run("smtpctl mailq -v").out, StartsWith(first));
  EXPECT_THAT(Run("smtpctl sh q 000000a1").out, StartsWith(first));
  EXPECT_EQ(Run("smtpctl show queue 000000a2").out, "");
  EXPECT_EQ(Run("smtpctl show message 000000a1").out,
            "Subject: kept\n\nbody\n");
  EXPECT_THAT(Run("smtpctl show envelope 000000a100000002").out,
              HasSubstr("rcpt: bob2@example.net\n"));
  ran = Run("smtpctl show envelope 000000a100000009");
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.err, "smtpctl: fopen: No such file or directory\n");
  EXPECT_EQ(Run("smtpctl show ledger").out,
            "accepted 2\ndelivered 0\nreported 0\nremoved 0\ndiscarded 0\n"
            "silent 0\nqueued 2\nbalanced yes\n");
  ran = Run("smtpctl queue check");
  EXPECT_EQ(ran.out, "queue check: 1 messages, 2 envelopes, 0 problems\n");
  EXPECT_EQ(ran.status, 0);
  EXPECT_EQ(Run("smtpctl show doubt").status, 0);
  EXPECT_EQ(Run("smtpctl history 000000a100000002").out,
            "000000a100000002 mta from=<alice@example.com> "
            "to=<bob2@example.net> queued\n");
  const std::string json = Run("smtpctl history --json 000000a1").out;
  EXPECT_EQ(std::count(json.begin(), json.end(), '\n'), 2);
  ran = Run("smtpctl history 000000a2");
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.err, "smtpctl: nothing is known of that\n");
}

TEST_F(SmtpctlTest, ExitCodes) {
  Ran ran = Run("smtpctl show stats");
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.err, "smtpctl: smtpd doesn't seem to be running\n");
  ran = Run("smtpctl log");
  EXPECT_EQ(ran.status, 255);
  EXPECT_EQ(ran.err, "possibilities are:\nlog brief\nlog verbose\n");
  EXPECT_EQ(Run("smtpctl show queue").status, 1);  // no store either
  ran = Run("smtpctl makemap -t nothing x");
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.err, "makemap: unsupported type 'nothing'\n");
  EXPECT_EQ(Run("smtpctl sendmail -q").status, 70);
}

TEST_F(SmtpctlTest, SendmailLeavesMailOffline) {
  const Ran ran =
      Run("smtpctl sendmail -t -f a@b.test x@y.test",
          "To: c@d.test\nBcc: hidden@e.test\nSubject: hi\nDate: now\n"
          "From: me@b.test\n\n.dot\nno end");
  EXPECT_EQ(ran.status, 75);
  EXPECT_EQ(ran.err, "");
  const std::vector<std::string> files = Offline();
  ASSERT_EQ(files.size(), 1u);
  // The blind recipient is not lost (reference part 2, section 12, 17).
  EXPECT_EQ(ReadAll(files[0]),
            "smtpd-offline-1|-t|-f|a@b.test|x@y.test|<hidden@e.test>\n"
            "To: c@d.test\nSubject: hi\nDate: now\nFrom: me@b.test\n\n"
            ".dot\nno end\n");
}

TEST_F(SmtpctlTest, SendmailErrors) {
  Ran ran = Run("smtpctl sendmail", "x\n");
  EXPECT_EQ(ran.status, 70);
  EXPECT_EQ(ran.err, "sendmail: no recipients\n");
  ran = Run("smtpctl sendmail 'a b'", "x\n");
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.err, "sendmail: syntax error in address\n");
  ran = Run("smtpctl sendmail 'a|b@c.test'", "x\n");
  EXPECT_EQ(ran.status, 70);
  EXPECT_EQ(ran.err, "sendmail: a|b@c.test contains illegal character\n");
  // What lies in the offline folder already is not put there again.
  ran = Run("smtpctl sendmail -S a@b.test", "x\n");
  EXPECT_EQ(ran.status, 75);
  EXPECT_TRUE(Offline().empty());
}

TEST_F(SmtpctlTest, LongLinesBecomeQuotedPrintable) {
  EXPECT_EQ(Run("smtpctl sendmail a@b.test", std::string(2000, 'x')).status,
            75);
  ASSERT_EQ(Offline().size(), 1u);
  const std::string text = ReadAll(Offline()[0]);
  EXPECT_THAT(text, HasSubstr("\nContent-Transfer-Encoding: "
                              "quoted-printable\n\nxxx"));
  EXPECT_THAT(text, HasSubstr("x=\n"));
}

// What a hash line says of a password.
bool Fits(const std::string& password, std::string line) {
  if (line.empty() || line.back() != '\n') return false;
  line.pop_back();
  if (LooksLikeScramVerifier(line)) {
    const auto verifier = ParseScramVerifier(line);
    return verifier && ScramPasswordFits(kScramHash, password, *verifier);
  }
  const auto data = std::make_unique<crypt_data>();
  return line == crypt_r(password.c_str(), line.c_str(), data.get());
}

TEST_F(SmtpctlTest, EncryptsAnArgument) {
  const Ran plain = Run("smtpctl encrypt 'pass word'");
  EXPECT_EQ(plain.status, 0) << plain.err;
  EXPECT_THAT(plain.out, StartsWith("$y$"));
  EXPECT_TRUE(Fits("pass word", plain.out));
  EXPECT_NE(Run("smtpctl encrypt 'pass word'").out, plain.out);
  const Ran scram = Run("smtpctl encrypt -s 'pass word'");
  EXPECT_EQ(scram.status, 0) << scram.err;
  EXPECT_THAT(scram.out, StartsWith("SCRAM-SHA-256$15000:"));
  EXPECT_TRUE(Fits("pass word", scram.out));
  EXPECT_FALSE(Fits("pass", scram.out));
}

TEST_F(SmtpctlTest, EncryptsEachLineOfItsInput) {
  for (const std::string option : {"", "-s"}) {
    const Ran ran = Run("smtpctl encrypt " + option, "one\ntwo\nlast");
    EXPECT_EQ(ran.status, 0) << ran.err;
    const size_t first = ran.out.find('\n') + 1;
    const size_t second = ran.out.find('\n', first) + 1;
    EXPECT_TRUE(Fits("one", ran.out.substr(0, first)));
    EXPECT_TRUE(Fits("two", ran.out.substr(first, second - first)));
    EXPECT_TRUE(Fits("last", ran.out.substr(second)));
  }
}

TEST_F(SmtpctlTest, RefusesPasswordsThatNobodyCanSend) {
  EXPECT_EQ(Run("smtpctl encrypt", std::string("a\0b\n", 4)).status, 1);
  const Ran ran = Run("smtpctl encrypt -s", "good\na\tb\nnever\n");
  EXPECT_EQ(ran.status, 1);
  EXPECT_TRUE(Fits("good", ran.out));
  EXPECT_THAT(ran.err, HasSubstr("control characters"));
}

}  // namespace
}  // namespace holdfast
