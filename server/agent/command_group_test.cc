// With real shells and files: what a user's command is given, how its end is
// named, and what is left in a file.
#include "server/agent/command_group.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class CommandGroupTest : public ::testing::Test {
 protected:
  CommandGroupTest() {
    char name[] = "/tmp/command_group_test.XXXXXX";
    folder_ = mkdtemp(name);
    signal(SIGPIPE, SIG_IGN);
  }
  ~CommandGroupTest() override {
    EXPECT_EQ(system(absl::StrCat("rm -rf ", folder_).c_str()), 0);
  }

  AgentDelivery Delivery(std::string exec = "") {
    AgentDelivery d;
    d.envelope = EnvelopeId{1};
    d.method = AgentDelivery::Method::kCommand;
    d.exec = std::move(exec);
    d.sender = {"s", "from.example"};
    d.rcpt = {"alias+tag", "in.example"};
    d.dest = {"user", "in.example"};
    d.mailbox_user = "user";
    d.subaddress = "tag";
    d.from = "s@from.example";
    return d;
  }

  AgentResults::One Deliver(const AgentDelivery& delivery,
                            const std::string& text = "Subject: x\n\nHello\n") {
    CommandOptions options = options_;
    options.home = folder_;
    CommandGroup group(std::move(options));
    group.Begin(delivery);
    group.Write(text);
    group.End();
    std::vector<AgentResults::One> results = group.Commit();
    EXPECT_EQ(results.size(), 1u);
    return results[0];
  }

  AgentResults::One Run(const std::string& command) {
    return Deliver(Delivery(absl::StrCat("|", command)));
  }

  std::string Path(const char* name) {
    return absl::StrCat(folder_, "/", name);
  }
  std::string Contents(const char* name) {
    std::ifstream in(Path(name));
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }

  std::string folder_;
  CommandOptions options_;
};

TEST_F(CommandGroupTest, TheMessageIsTheInput) {
  EXPECT_TRUE(Run(absl::StrCat("cat > ", Path("out"))).ok);
  EXPECT_EQ(Contents("out"), "Subject: x\n\nHello\n");
}

TEST_F(CommandGroupTest, ALargeMessageGoesThroughAPipe) {
  const std::string text(3 << 20, 'x');
  EXPECT_TRUE(Deliver(Delivery(absl::StrCat("|cat > ", Path("out"))), text).ok);
  EXPECT_EQ(Contents("out"), text);
}

TEST_F(CommandGroupTest, TheEnvironmentIsTheReferences) {
  ASSERT_EQ(setenv("SECRET", "of the agent", 1), 0);
  EXPECT_TRUE(Run(absl::StrCat("/usr/bin/env | sort > ", Path("out"))).ok);
  const std::string out = Contents("out");
  for (const char* line :
       {"DOMAIN=in.example\n", "EXTENSION=tag\n", "LOCAL=alias+tag\n",
        "LOGNAME=user\n", "ORIGINAL_RECIPIENT=alias+tag@in.example\n",
        "PATH=/usr/bin:/bin\n", "RECIPIENT=user@in.example\n",
        "SENDER=s@from.example\n", "SHELL=/bin/sh\n", "USER=user\n"}) {
    EXPECT_THAT(out, HasSubstr(line));
  }
  EXPECT_THAT(out, HasSubstr(absl::StrCat("HOME=", folder_, "\n")));
  EXPECT_THAT(out, Not(HasSubstr("SECRET")));
}

TEST_F(CommandGroupTest, NothingElseIsOpen) {
  EXPECT_TRUE(Run(absl::StrCat("ls /proc/self/fd > ", Path("out"))).ok);
  // Its own three, and the folder that ls reads.
  EXPECT_EQ(Contents("out"), "0\n1\n2\n3\n");
}

TEST_F(CommandGroupTest, AnEndIsNamed) {
  const struct {
    const char* command;
    bool permanent;
    const char* kind;
    const char* text;
    bool plain;
  } kCases[] = {
      {"cat >/dev/null; echo one; echo two >&2; exit 75", false,
       "temporary failure", "two", false},
      {"cat >/dev/null; echo full; exit 71", false, "system resource problem",
       "full", false},
      {"cat >/dev/null; echo who; exit 67", true, "user unknown", "who", false},
      {"cat >/dev/null; exit 1", true, "", "exited abnormally", true},
      {"cat >/dev/null; echo; exit 126", true, "", "exited abnormally", true},
      {"cat >/dev/null; kill -9 $$", false, "", "terminated; signal 9", true},
  };
  for (const auto& test : kCases) {
    const AgentResults::One one = Run(test.command);
    EXPECT_FALSE(one.ok) << test.command;
    EXPECT_EQ(one.permanent, test.permanent) << test.command;
    EXPECT_EQ(one.kind, test.kind) << test.command;
    EXPECT_EQ(one.text, test.text) << test.command;
    EXPECT_EQ(one.plain, test.plain) << test.command;
  }
}

TEST_F(CommandGroupTest, WhoDoesNotReadHasNotTaken) {
  const AgentResults::One one =
      Deliver(Delivery("|exit 0"), std::string(1 << 20, 'x'));
  EXPECT_FALSE(one.ok);
  EXPECT_FALSE(one.permanent);
  EXPECT_EQ(one.text, "mda exited prematurely");
}

TEST_F(CommandGroupTest, ItsTimeIsLimited) {
  options_.limits.time = absl::Milliseconds(50);
  const AgentResults::One one = Run("cat >/dev/null; exec sleep 100");
  EXPECT_FALSE(one.ok);
  EXPECT_FALSE(one.permanent);
  EXPECT_EQ(one.text, "terminated; timeout");
}

TEST_F(CommandGroupTest, ItsMemoryIsLimited) {
  options_.limits.memory = 64 << 20;
  const AgentResults::One one =
      Run("cat >/dev/null; exec perl -e '$x .= \"x\" x 1000000 while 1'");
  EXPECT_FALSE(one.ok);
  EXPECT_FALSE(one.permanent);
  EXPECT_EQ(one.kind, "memory limit");
  EXPECT_THAT(one.text, HasSubstr("ut of memory"));
}

TEST_F(CommandGroupTest, ItsDescriptorsAreLimited) {
  options_.limits.descriptors = 20;
  const AgentResults::One one =
      Run("cat >/dev/null; exec perl -e 'my @f; for (1 .. 40) {"
          " open my $f, \"<\", \"/dev/null\" or die \"open: $!\\n\"; push @f, "
          "$f }'");
  EXPECT_FALSE(one.ok);
  EXPECT_FALSE(one.permanent);
  EXPECT_EQ(one.kind, "descriptor limit");
  EXPECT_EQ(one.text, "open: Too many open files");
}

TEST_F(CommandGroupTest, ItsLimitsHoldForGood) {
  options_.limits.memory = 64 << 20;
  options_.limits.descriptors = 20;
  EXPECT_TRUE(
      Run(absl::StrCat("cat >/dev/null; (ulimit -Hd; ulimit -Sd; ulimit -Hn;"
                       " ulimit -Sn) > ",
                       Path("out")))
          .ok);
  EXPECT_EQ(Contents("out"), "65536\n65536\n20\n20\n");
}

TEST(LimitReached, GoesByWhatIsSaid) {
  CommandLimits limits;
  limits.memory = 64 << 20;
  limits.descriptors = 20;
  const auto reached = [&limits](int status, const char* said,
                                 uint64_t peak = 0) {
    CommandEnd end;
    end.how = CommandEnd::How::kExited;
    end.value = status;
    end.last_line = said;
    const char* limit = LimitReached(end, limits, peak);
    return std::string(limit == nullptr ? "" : limit);
  };
  EXPECT_EQ(reached(1, "tail: memory exhausted"), "memory limit");
  EXPECT_EQ(reached(1, "MemoryError"), "memory limit");
  EXPECT_EQ(reached(73, "sh: 1: Cannot fork: Cannot allocate memory"),
            "memory limit");
  EXPECT_EQ(reached(1, "x: Too many open files"), "descriptor limit");
  EXPECT_EQ(reached(1, "", 60 << 20), "memory limit");
  // Its own decision.
  EXPECT_EQ(reached(67, "no such user", 60 << 20), "");
  EXPECT_EQ(reached(1, "no such user", 20 << 20), "");
  EXPECT_EQ(reached(0, "Too many open files", 60 << 20), "");
  limits = {};
  EXPECT_EQ(reached(1, "Too many open files", 60 << 20), "");
  EXPECT_EQ(reached(1, "MemoryError", 60 << 20), "");
}

TEST_F(CommandGroupTest, WhatItLeavesRunningHoldsNothingUp) {
  EXPECT_TRUE(Run("cat >/dev/null; sleep 100 & exit 0").ok);
}

TEST_F(CommandGroupTest, OutputWithoutEndIsKeptShort) {
  const AgentResults::One one =
      Run("cat >/dev/null; head -c 10000000 /dev/zero | tr '\\0' x; exit 75");
  EXPECT_FALSE(one.ok);
  EXPECT_LE(one.text.size(), 2 * kKeptOutputBytes);
}

// The command of an action goes through two shells; the first sees it between
// double quotes.
TEST_F(CommandGroupTest, TheCommandOfAnAction) {
  options_.command =
      absl::StrCat("cat > ", Path("out"), "; echo '%{dest.user}' >> ",
                   Path("out"), "; exit 75");
  EXPECT_EQ(Deliver(Delivery()).kind, "temporary failure");
  EXPECT_THAT(Contents("out"), HasSubstr("Hello\nuser\n"));
}

TEST_F(CommandGroupTest, AWrapperWraps) {
  options_.wrapper = absl::StrCat("echo wrapped > ", Path("mark"), "; %{mda}");
  EXPECT_TRUE(Run(absl::StrCat("cat > ", Path("out"))).ok);
  EXPECT_EQ(Contents("mark"), "wrapped\n");
  EXPECT_THAT(Contents("out"), HasSubstr("Hello"));
}

TEST_F(CommandGroupTest, AFileGetsItAtItsEnd) {
  const std::string file = Path("box");
  EXPECT_TRUE(Deliver(Delivery(file), "A: b\n\nFrom me\nFrom you\n").ok);
  EXPECT_TRUE(Deliver(Delivery(file), "C: d\n\nMore\n").ok);
  const std::string text = Contents("box");
  EXPECT_THAT(text, HasSubstr("From s@from.example "));
  EXPECT_THAT(text, HasSubstr("A: b\n\n>From me\n>From you\n\nFrom s@"));
  EXPECT_THAT(text, HasSubstr("C: d\n\nMore\n\n"));
  struct stat st;
  ASSERT_EQ(stat(file.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600u);
}

TEST_F(CommandGroupTest, AFileMayBeTheNullDevice) {
  EXPECT_TRUE(Deliver(Delivery("/dev/null")).ok);
}

TEST_F(CommandGroupTest, AFifoOrAFolderIsNoFile) {
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0600), 0);
  for (const std::string& path : {Path("fifo"), folder_}) {
    const AgentResults::One one = Deliver(Delivery(path));
    EXPECT_FALSE(one.ok) << path;
    EXPECT_FALSE(one.permanent) << path;
    EXPECT_THAT(one.text, HasSubstr(path));
  }
}

// What was there before stays as it was.
TEST_F(CommandGroupTest, AFileThatTakesNoMoreIsCutBack) {
  signal(SIGXFSZ, SIG_IGN);
  std::ofstream(Path("box")) << "before\n";
  rlimit old;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  CommandOptions options;
  options.home = folder_;
  CommandGroup group(std::move(options));
  group.Begin(Delivery(Path("box")));
  group.Write(std::string(5000, 'x'));
  group.End();
  rlimit small = old;
  small.rlim_cur = 3000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  std::vector<AgentResults::One> results = group.Commit();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
  ASSERT_EQ(results.size(), 1u);
  EXPECT_FALSE(results[0].ok);
  EXPECT_EQ(Contents("box"), "before\n");
}

// What strangers may try to have run, as parts of an address.  CVE-2020-7247
// was the first of these in a sender's local part.
std::vector<std::string> HostileParts(const std::string& made) {
  const std::string touch = absl::StrCat("touch${IFS}", made);
  const std::string with_space = absl::StrCat("touch ", made);
  std::vector<std::string> out = {
      absl::StrCat(";for i in 0 1 2 3 4 5;do read r;done;sh;", with_space, ";"),
      absl::StrCat("x>", made),
      absl::StrCat("x\t>", made, "\t#"),
      absl::StrCat("../../../", made),
      "-oQ/tmp -X/tmp/x",
      "\\",
      "'",
      "\"",
      "~root",
      "* ? [a-z]",
  };
  for (const std::string& run : {touch, with_space}) {
    for (const char* around :
         {";%;",         "|%|",    "&%&",        "&&%&&",   "$(%)",
          "`%`",         "'$(%)'", "\"$(%)\"",   "\";%;\"", "';%;'",
          "\\\";%;\\\"", "\n%\n",  "\r\n%\r\n",  "{%,}",    "<(%)",
          "a;%;#",       "$((%))", "${x:=$(%)}", "!%",      "%%{mda};%"}) {
      std::string part = around;
      for (size_t at = part.find('%'); at != std::string::npos;
           at = part.find('%', at + run.size()))
        part.replace(at, 1, run);
      out.push_back(part);
    }
  }
  return out;
}

TEST_F(CommandGroupTest, NothingOfTheMessageReachesAShell) {
  const std::string made = Path("made");
  const std::string out = Path("out");
  const std::string values =
      "%{sender} %{sender.user:raw} %{sender.domain:raw} %{rcpt.user} "
      "%{rcpt.user:raw|lowercase} %{dest.user} %{dest.user:raw} ";
  const std::string commands[] = {
      absl::StrCat("echo ", values, ">> ", out),
      absl::StrCat("eval echo ", values, ">> ", out),
  };
  for (const std::string& part : HostileParts(made)) {
    for (int where = 0; where < 4; ++where) {
      AgentDelivery d = Delivery();
      (where == 0   ? d.sender.user
       : where == 1 ? d.rcpt.user
       : where == 2 ? d.dest.user
                    : d.sender.domain) = part;
      if (where == 0) d.from = d.sender.ToString();
      for (const std::string& command : commands) {
        options_ = CommandOptions();
        options_.command = absl::StrCat("cat > /dev/null; ", command);
        EXPECT_TRUE(Deliver(d).ok) << where << ": " << part;
        options_.wrapper = "env X=1 %{mda}";
        EXPECT_TRUE(Deliver(d).ok) << where << ": " << part;
        options_ = CommandOptions();
        d.exec = absl::StrCat("|cat > /dev/null; ", command);
        EXPECT_TRUE(Deliver(d).ok) << where << ": " << part;
        d.exec.clear();
      }
      ASSERT_NE(access(made.c_str(), F_OK), 0) << where << ": " << part;
    }
  }
}

TEST_F(CommandGroupTest, TheEnvironmentHoldsAnAddressAsItIs) {
  AgentDelivery d = Delivery(absl::StrCat(
      "|printf '%s\\n' \"$SENDER\" \"$LOCAL\" \"$RECIPIENT\" > ", Path("out")));
  d.sender.user = "$(touch made);`x`'\"\\";
  d.rcpt.user = "a;b";
  EXPECT_TRUE(Deliver(d).ok);
  EXPECT_EQ(Contents("out"),
            absl::StrCat(d.sender.ToString(), "\n", d.rcpt.user, "\n",
                         d.dest.ToString(), "\n"));
  EXPECT_NE(access(Path("made").c_str(), F_OK), 0);
}

TEST_F(CommandGroupTest, AWrapperRunsAProgram) {
  // `exec`, as a word of the shell, would not be one.
  options_.command = absl::StrCat("cat > ", Path("out"));
  options_.wrapper = "env %{mda}";
  EXPECT_TRUE(Deliver(Delivery()).ok);
  EXPECT_EQ(Contents("out"), "Subject: x\n\nHello\n");
}

TEST_F(CommandGroupTest, AHelperIsOneShellAwayAndItsPathCantClimb) {
  options_.helper = true;
  options_.command = "printf '%s' \"%{user.directory}/x/%{rcpt.user}\" > out";
  options_.wrapper = absl::StrCat("cd ", folder_, "; %{mda}");
  EXPECT_TRUE(Deliver(Delivery()).ok);
  EXPECT_EQ(Contents("out"), absl::StrCat(folder_, "/x/alias+tag"));
  AgentDelivery d = Delivery();
  d.rcpt.user = "..";
  const AgentResults::One climbed = Deliver(d);
  EXPECT_FALSE(climbed.ok);
  EXPECT_TRUE(climbed.permanent);
}

}  // namespace
}  // namespace holdfast
