// smtpd-agent as a process of its own, and a test that plays `deliver`.
#ifndef HOLDFAST_SERVER_AGENT_AGENT_PROCESS_FOR_TEST_H_
#define HOLDFAST_SERVER_AGENT_AGENT_PROCESS_FOR_TEST_H_

#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/agent/agent_arguments.h"
#include "server/agent/blocking_door.h"
#include "server/door/door.h"
#include "server/door/worker_messages.h"

namespace holdfast {

inline constexpr char kAgentProgram[] = "server/smtpd-agent";

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}
inline void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}
inline std::vector<std::string> List(const std::string& path) {
  std::vector<std::string> out;
  DIR* dir = opendir(path.c_str());
  if (dir == nullptr) return {"(no folder)"};
  while (const dirent* entry = readdir(dir)) {
    if (entry->d_name[0] != '.') out.push_back(entry->d_name);
  }
  closedir(dir);
  std::sort(out.begin(), out.end());
  return out;
}
inline mode_t ModeOf(const std::string& path) {
  struct stat st = {};
  lstat(path.c_str(), &st);
  return st.st_mode & 07777;
}

// A system call of the agent that fails, as on a disk that is broken or full.
struct Fault {
  int call = 0;   // SYS_...
  int error = 0;  // errno
  // Only where its third argument (the length, for write) is at least this.
  uint32_t at_least = 0;
};

// A filter of the kernel's (seccomp(2)) sees to it, so that the program is the
// one that is shipped.  Between fork and exec.
inline bool Install(const std::vector<Fault>& faults) {
  if (faults.empty()) return true;
  std::vector<sock_filter> code;
  for (const Fault& fault : faults) {
    code.push_back(
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                            static_cast<uint32_t>(fault.call), 0, 3));
    code.push_back(
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])));
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, fault.at_least, 0, 1));
    code.push_back(
        BPF_STMT(BPF_RET | BPF_K,
                 SECCOMP_RET_ERRNO | static_cast<uint32_t>(fault.error)));
  }
  code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog program = {static_cast<unsigned short>(code.size()),
                              code.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// One agent and our end of its door.
class AgentProcess {
 public:
  // `file_limit`: RLIMIT_FSIZE, 0: none.
  explicit AgentProcess(const AgentArguments& arguments, rlim_t file_limit = 0,
                        const std::vector<Fault>& faults = {}) {
    int door[2], status[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, door), 0);
    EXPECT_EQ(pipe2(status, O_CLOEXEC), 0);
    std::vector<std::string> words = ToArguments(arguments);
    words.insert(words.begin(), kAgentProgram);
    pid_ = fork();
    if (pid_ == 0) {
      std::vector<char*> argv;
      for (std::string& word : words) argv.push_back(&word[0]);
      argv.push_back(nullptr);
      // Both may be among 3 and 4 already.
      const int d = fcntl(door[1], F_DUPFD, 50);
      const int s = fcntl(status[1], F_DUPFD, 60);
      dup2(d, 3);
      dup2(s, 4);
      for (int fd = 5; fd < 100; ++fd) close(fd);
      if (file_limit != 0) {
        const rlimit limit = {file_limit, file_limit};
        setrlimit(RLIMIT_FSIZE, &limit);
      }
      if (!Install(faults)) _exit(126);
      execv(kAgentProgram, argv.data());
      _exit(127);
    }
    close(door[1]);
    close(status[1]);
    fd_.Reset(door[0]);
    door_ = std::make_unique<BlockingDoor>(door[0]);
    char c;
    while (read(status[0], &c, 1) == 1) said_.push_back(c);
    close(status[0]);
  }
  ~AgentProcess() {
    if (pid_ > 0) {
      fd_.Reset();
      Wait();
    }
  }

  const std::string& said() const { return said_; }

  void Deliver(const AgentDelivery& delivery, const std::string& text,
               bool cancel = false) {
    ASSERT_TRUE(door_->Send(delivery).ok());
    // In pieces, as they come.
    AgentText piece;
    piece.bytes = text.substr(0, text.size() / 2);
    ASSERT_TRUE(door_->Send(piece).ok());
    piece.bytes = text.substr(text.size() / 2);
    piece.last = true;
    piece.cancelled = cancel;
    ASSERT_TRUE(door_->Send(piece).ok());
  }

  std::vector<AgentResults::One> Commit(uint64_t group = 1) {
    AgentCommit commit;
    commit.group = group;
    EXPECT_TRUE(door_->Send(commit).ok());
    auto frame = door_->Read();
    if (!frame.ok() || !frame->has_value()) return {};
    EXPECT_EQ((*frame)->type, AgentResults::kType);
    auto results = Decode<AgentResults>((*frame)->payload);
    EXPECT_TRUE(results.ok());
    EXPECT_EQ(results->group, group);
    return results->results;
  }

  // Waits until the agent has read all that was sent.
  void Settle() { EXPECT_THAT(Commit(77), testing::IsEmpty()); }

  BlockingDoor& door() { return *door_; }
  pid_t pid() const { return pid_; }
  // Closes the door and gives the status of waitpid.
  int End() {
    fd_.Reset();
    return Wait();
  }
  int Wait() {
    int status = -1;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return status;
  }

 private:
  pid_t pid_ = 0;
  OwnedFd fd_;
  std::unique_ptr<BlockingDoor> door_;
  std::string said_;
};

class AgentTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/agent_test.XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    home_ = name;
  }
  void TearDown() override {
    const std::string command = "rm -rf " + home_;
    ASSERT_EQ(system(command.c_str()), 0);
  }

  // Works as whoever runs the test.
  AgentArguments Maildir() const {
    AgentArguments arguments;
    arguments.user = "tester";
    arguments.known = AgentArguments::User{geteuid(), getegid(), home_};
    return arguments;
  }
  AgentArguments Mbox() const {
    AgentArguments arguments = Maildir();
    arguments.mbox = true;
    arguments.mail_dir = home_;
    return arguments;
  }

  AgentDelivery Delivery(uint64_t id) const {
    AgentDelivery delivery;
    delivery.envelope = EnvelopeId(id);
    delivery.file_name = absl::StrCat("1795324000.uuid.", id, ".host");
    return delivery;
  }
  AgentDelivery MboxDelivery(uint64_t id) const {
    AgentDelivery delivery = Delivery(id);
    delivery.method = AgentDelivery::Method::kMbox;
    delivery.mailbox_user = "bob";
    delivery.from = "ann@example.org";
    return delivery;
  }

  std::string home_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_AGENT_AGENT_PROCESS_FOR_TEST_H_
