// The mail.* programs as others call them: arguments, environment, exit status.
// They refuse root; a test that is root runs them as nobody.
#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/owned_fd.h"

namespace holdfast {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr uid_t kNobody = 65534;
constexpr char kMessage[] = "Subject: x\n\nFrom here\n.dot\nend\n";

struct Ran {
  int status = -1;
  std::string said;
};

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

class MailProgramsTest : public ::testing::Test {
 protected:
  MailProgramsTest() {
    char name[] = "/tmp/mail-programs.XXXXXX";
    folder_ = mkdtemp(name);
    fs::permissions(folder_, fs::perms::all);
    home_ = folder_ / "home";
    fs::create_directory(home_);
    if (geteuid() == 0 && chown(home_.c_str(), kNobody, kNobody) != 0) abort();
    // Where nobody finds them.
    for (const char* program :
         {"mail.maildir", "mail.mda", "mail.mboxfile", "mail.forwardfile",
          "mail.local", "mail.mbox", "mail.lmtp"}) {
      fs::copy_file(fs::path("ctl") / program, folder_ / program);
      fs::permissions(folder_ / program, fs::perms::owner_all |
                                             fs::perms::others_read |
                                             fs::perms::others_exec);
    }
  }
  ~MailProgramsTest() override { fs::remove_all(folder_); }

  Ran Run(const std::string& program, const std::vector<std::string>& words,
          const std::string& input = kMessage, bool as_root = false) {
    const fs::path in = folder_ / "input", out = folder_ / "output";
    std::ofstream(in, std::ios::binary) << input;
    const pid_t pid = fork();
    if (pid == 0) {
      std::vector<std::string> all = {(folder_ / program).string()};
      all.insert(all.end(), words.begin(), words.end());
      std::vector<std::string> environment = environment_;
      environment.push_back(absl::StrCat("HOME=", home_.string()));
      std::vector<char*> argv, envp;
      for (std::string& word : all) argv.push_back(word.data());
      for (std::string& one : environment) envp.push_back(one.data());
      argv.push_back(nullptr);
      envp.push_back(nullptr);
      const int from = open(in.c_str(), O_RDONLY);
      const int to = open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
      dup2(from, 0);
      dup2(to, 1);
      dup2(to, 2);
      if (geteuid() == 0 && !as_root &&
          (setresgid(kNobody, kNobody, kNobody) != 0 ||
           setresuid(kNobody, kNobody, kNobody) != 0))
        _exit(99);
      execve(argv[0], argv.data(), envp.data());
      _exit(98);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, ReadFile(out)};
  }

  // The only file in a folder.
  std::string Only(const fs::path& folder, std::string* name = nullptr) {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder))
      found.push_back(entry.path());
    EXPECT_EQ(found.size(), 1u) << folder;
    if (found.empty()) return "";
    if (name != nullptr) *name = found[0].filename().string();
    return ReadFile(found[0]);
  }

  fs::path folder_, home_;
  std::vector<std::string> environment_;
};

TEST_F(MailProgramsTest, RootIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  for (const char* program :
       {"mail.maildir", "mail.mda", "mail.mboxfile", "mail.forwardfile"}) {
    const Ran ran = Run(program, {"x"}, kMessage, true);
    EXPECT_EQ(ran.status, 1) << program;
    EXPECT_EQ(ran.said, absl::StrCat(program, ": ", program,
                                     ": may not be executed as root\n"));
  }
  EXPECT_EQ(Run("mail.lmtp", {"x"}, kMessage, true).status, 75);
}

TEST_F(MailProgramsTest, MaildirOfTheHome) {
  const Ran ran = Run("mail.maildir", {});
  EXPECT_EQ(ran.status, 0) << ran.said;
  std::string name;
  EXPECT_EQ(Only(home_ / "Maildir/new", &name), kMessage);
  // "<seconds>.<8 hex digits>.<host>"
  const size_t dot = name.find('.');
  ASSERT_NE(dot, std::string::npos);
  EXPECT_EQ(name.find_first_not_of("0123456789"), dot);
  EXPECT_EQ(name.find_first_not_of("0123456789abcdef", dot + 1), dot + 9);
  for (const char* folder : {"Maildir", "Maildir/cur", "Maildir/tmp"}) {
    EXPECT_EQ(fs::status(home_ / folder).permissions(), fs::perms::owner_all)
        << folder;
  }
  EXPECT_TRUE(fs::is_empty(home_ / "Maildir/tmp"));
}

TEST_F(MailProgramsTest, MaildirWithExtensionAndJunk) {
  const std::string dir = (home_ / "a/b").string();
  environment_ = {"EXTENSION=li/st"};
  fs::create_directories(home_ / "a/b/.li:st/new");
  if (geteuid() == 0) {
    for (const char* one : {"a", "a/b", "a/b/.li:st", "a/b/.li:st/new"})
      ASSERT_EQ(chown((home_ / one).c_str(), kNobody, kNobody), 0);
  }
  EXPECT_EQ(Run("mail.maildir", {"-j", dir}).status, 0);
  EXPECT_EQ(Only(home_ / "a/b/.li:st/new"), kMessage);
  environment_ = {"EXTENSION=absent"};
  EXPECT_EQ(Run("mail.maildir", {"-j", dir}).status, 0);
  EXPECT_EQ(Only(home_ / "a/b/new"), kMessage);
  const std::string spam = absl::StrCat("x-spam-flag: YES\n", kMessage);
  EXPECT_EQ(Run("mail.maildir", {"-j", dir}, spam).status, 0);
  EXPECT_EQ(Only(home_ / "a/b/.Junk/new"), spam);
  // Only the header counts.
  fs::remove_all(home_ / "a/b/new");
  const std::string body = absl::StrCat(kMessage, "X-Spam: yes\n");
  EXPECT_EQ(Run("mail.maildir", {"-j", dir}, body).status, 0);
  EXPECT_EQ(Only(home_ / "a/b/new"), body);
}

TEST_F(MailProgramsTest, MaildirFailures) {
  EXPECT_EQ(Run("mail.maildir", {"a", "b"}).status, 1);
  EXPECT_EQ(Run("mail.maildir", {"relative"}).status, 1);
  EXPECT_EQ(Run("mail.maildir", {"/proc/x"}).status, 75);
  std::ofstream(home_ / "file") << "x";
  EXPECT_EQ(Run("mail.maildir", {(home_ / "file").string()}).status, 75);
}

TEST_F(MailProgramsTest, MdaGivesItsInputAndTakesTheStatus) {
  const std::string out = (home_ / "out").string();
  EXPECT_EQ(Run("mail.mda", {absl::StrCat("cat > ", out)}).status, 0);
  EXPECT_EQ(ReadFile(out), kMessage);
  EXPECT_EQ(Run("mail.mda", {"exit 3"}).status, 3);
  EXPECT_EQ(Run("mail.mda", {"kill -9 $$"}).status, 75);
  EXPECT_EQ(Run("mail.mda", {}).status, 1);
  EXPECT_EQ(Run("mail.mda", {"a", "b"}).status, 1);
}

TEST_F(MailProgramsTest, Mboxfile) {
  const std::string file = (home_ / "box").string();
  EXPECT_EQ(Run("mail.mboxfile", {"-f", "a@b", file}).status, 0);
  EXPECT_EQ(Run("mail.forwardfile", {file}).status, 0);
  const std::string text = ReadFile(file);
  EXPECT_THAT(text, StartsWith("From a@b "));
  EXPECT_THAT(text,
              HasSubstr("\nSubject: x\n\n>From here\n.dot\nend\n\nFrom "));
  EXPECT_THAT(text, HasSubstr("\nFrom <unknown> "));
  EXPECT_EQ(fs::status(file).permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(Run("mail.mboxfile", {}).status, 75);
  EXPECT_EQ(Run("mail.mboxfile", {"a", "b"}).status, 1);
  EXPECT_EQ(Run("mail.mboxfile", {"/nonexistent/f"}).status, 75);
  EXPECT_EQ(Run("mail.mboxfile", {"/dev/null"}).status, 0);
  const std::string fifo = (home_ / "fifo").string();
  ASSERT_EQ(mkfifo(fifo.c_str(), 0666), 0);
  EXPECT_EQ(Run("mail.mboxfile", {fifo}).status, 75);
}

TEST_F(MailProgramsTest, Local) {
  EXPECT_EQ(Run("mail.local", {}).status, 64);
  const Ran ran = Run("mail.local", {"no-such-user-here"});
  EXPECT_EQ(ran.status, 67);
  EXPECT_EQ(ran.said, "mail.local: unknown name: no-such-user-here\n");
  EXPECT_EQ(Run("mail.mbox", {"../x"}).status, 67);
}

// Answers like a server: each line of `replies` after one read.
class Server {
 public:
  Server(const fs::path& path, std::vector<std::string> replies)
      : replies_(std::move(replies)) {
    listening_.Reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    path.string().copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(bind(listening_.get(), reinterpret_cast<sockaddr*>(&address),
                   sizeof address),
              0);
    EXPECT_EQ(listen(listening_.get(), 1), 0);
    fs::permissions(path, fs::perms::all);
    thread_ = std::thread([this] { Serve(); });
  }
  std::string Heard() {
    thread_.join();
    return heard_;
  }

 private:
  void Serve() {
    const OwnedFd client(accept(listening_.get(), nullptr, nullptr));
    for (const std::string& reply : replies_) {
      if (send(client.get(), reply.data(), reply.size(), MSG_NOSIGNAL) < 0)
        return;
      const bool body = absl::StartsWith(reply, "354");
      for (;;) {
        char bytes[4096];
        const ssize_t n = read(client.get(), bytes, sizeof bytes);
        if (n <= 0) return;
        heard_.append(bytes, static_cast<size_t>(n));
        if (absl::EndsWith(heard_, body ? "\r\n.\r\n" : "\r\n")) break;
      }
    }
  }

  OwnedFd listening_;
  std::vector<std::string> replies_;
  std::string heard_;
  std::thread thread_;
};

TEST_F(MailProgramsTest, LmtpSpeaksToTheServer) {
  const std::string path = (folder_ / "lmtp").string();
  Server server(path, {"220 hi\r\n", "250 ok\r\n", "250 sender\r\n",
                       "250 rcpt\r\n", "354 go\r\n", "250 saved\r\n"});
  environment_ = {"SENDER=a@example.org", "USER=joe", "RECIPIENT=joe@x.org"};
  const Ran ran = Run("mail.lmtp", {"-d", path, "-u"});
  EXPECT_EQ(ran.status, 0) << ran.said;
  EXPECT_EQ(server.Heard(),
            "LHLO localhost\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<joe>\r\n"
            "DATA\r\nSubject: x\r\n\r\nFrom here\r\n..dot\r\nend\r\n.\r\n"
            "QUIT\r\n");
}

TEST_F(MailProgramsTest, LmtpRefusals) {
  const std::string path = (folder_ / "lmtp").string();
  environment_ = {"SENDER=", "USER=joe", "RECIPIENT=joe@x.org"};
  {
    Server server(path, {"220 hi\r\n", "250 ok\r\n", "250 sender\r\n",
                         "550 5.1.1 nobody\r\n", "250 bye\r\n"});
    const Ran ran = Run("mail.lmtp", {"-d", path, "-r", "-l", "me"});
    EXPECT_EQ(ran.status, 69);
    EXPECT_EQ(ran.said, "mail.lmtp: LMTP server error: 550 5.1.1 nobody\n");
    EXPECT_THAT(server.Heard(),
                StartsWith("LHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<joe@x.org>"));
    fs::remove(path);
  }
  {
    Server server(path, {"220 hi\r\n", "250 ok\r\n", "250 sender\r\n",
                         "452 4.2.2 full\r\n", "250 bye\r\n"});
    EXPECT_EQ(Run("mail.lmtp", {"-d", path, "-u"}).status, 75);
    server.Heard();
    fs::remove(path);
  }
  {
    Server server(path, {"220 hi\r\n"});
    const Ran ran = Run("mail.lmtp", {"-d", path, "-u"});
    EXPECT_EQ(ran.status, 75);
    EXPECT_EQ(ran.said, "mail.lmtp: unexpected EOF from LMTP server\n");
    server.Heard();
    fs::remove(path);
  }
  EXPECT_EQ(Run("mail.lmtp", {"-d", path, "-u"}).status, 75);
  EXPECT_EQ(Run("mail.lmtp", {"-d", "localhost:port", "-u"}).status, 75);
  EXPECT_EQ(Run("mail.lmtp", {"-d", path}).status, 75);
  environment_.clear();
  EXPECT_EQ(Run("mail.lmtp", {"-d", path, "joe"}).said,
            "mail.lmtp: sender must be specified with -f\n");
}

}  // namespace
}  // namespace holdfast
