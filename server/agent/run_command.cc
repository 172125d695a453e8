#include "server/agent/run_command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/door/door.h"

namespace holdfast {
namespace {

constexpr size_t kPieceBytes = 64 << 10;

struct Pipe {
  OwnedFd reader, writer;
  bool Open() {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) return false;
    reader.Reset(fds[0]);
    writer.Reset(fds[1]);
    return true;
  }
};

bool SetNonBlocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

std::vector<char*> Pointers(const std::vector<std::string>& words) {
  std::vector<char*> out;
  for (const std::string& word : words)
    out.push_back(const_cast<char*>(word.c_str()));
  out.push_back(nullptr);
  return out;
}

// Never more than there was.  A call between fork and exec.
bool Lower(__rlimit_resource_t resource, rlim_t most) {
  rlimit limit;
  if (getrlimit(resource, &limit) != 0) return false;
  limit.rlim_max = std::min(limit.rlim_max, most);
  limit.rlim_cur = std::min(limit.rlim_cur, limit.rlim_max);
  return setrlimit(resource, &limit) == 0;
}

// In the child: only what may be called between fork and exec.
[[noreturn]] void BecomeCommand(int input, int output, pid_t agent,
                                const CommandLimits& limits, char* const* argv,
                                char* const* environment) {
  // The agent's end is the command's: nobody would hear how it went.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != agent) _exit(75);
  setsid();
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
    _exit(75);
  syscall(SYS_close_range, 3u, ~0u, 0u);
  if (limits.memory != 0 && !Lower(RLIMIT_DATA, limits.memory)) _exit(75);
  if (limits.descriptors != 0 && !Lower(RLIMIT_NOFILE, limits.descriptors))
    _exit(75);
  execve(argv[0], argv, environment);
  _exit(75);
}

// The end of what a program says.
class Output {
 public:
  void Append(const char* bytes, size_t size) {
    kept_.append(bytes, size);
    if (kept_.size() > 2 * kKeptOutputBytes)
      kept_.erase(0, kept_.size() - kKeptOutputBytes);
  }

  std::string LastLine() const {
    const size_t end = kept_.find_last_not_of("\r\n");
    if (end == std::string::npos) return "";
    const size_t before = kept_.find_last_of('\n', end);
    const size_t begin = before == std::string::npos ? 0 : before + 1;
    return kept_.substr(begin, end + 1 - begin);
  }

 private:
  std::string kept_;
};

// A clock that nobody sets: a step of the time of day must not end a command.
absl::Duration Elapsed() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::DurationFromTimespec(now);
}

// A started command and the two pipes to it.
class Child {
 public:
  explicit Child(const CommandRun& run) : run_(run) {}

  // An error number, or 0.
  int Start() {
    Pipe input, output;
    if (!input.Open() || !output.Open()) return errno;
    std::vector<std::string> words = {"/bin/sh", "-c", run_.line};
    const std::vector<char*> argv = Pointers(words);
    const std::vector<char*> environment = Pointers(run_.environment);
    const pid_t agent = getpid();
    pid_ = fork();
    if (pid_ < 0) return errno;
    if (pid_ == 0) {
      BecomeCommand(input.reader.get(), output.writer.get(), agent, run_.limits,
                    argv.data(), environment.data());
    }
    input_ = std::move(input.writer);
    output_ = std::move(output.reader);
    handle_.Reset(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
    if (!handle_ || !SetNonBlocking(input_.get()) ||
        !SetNonBlocking(output_.get())) {
      const int error = errno;
      Kill();
      waitpid(pid_, nullptr, 0);
      return error;
    }
    return 0;
  }

  // Until it has ended, or the time is over.
  CommandEnd Wait() {
    CommandEnd end;
    const absl::Duration deadline = Elapsed() + run_.limits.time;
    bool ended = false;
    while (!ended) {
      const absl::Duration left = deadline - Elapsed();
      if (left <= absl::ZeroDuration()) {
        end.how = CommandEnd::How::kTimeout;
        Kill();
        waitpid(pid_, nullptr, 0);
        break;
      }
      ended = Step(left);
    }
    ReadOutput();
    end.last_line = said_.LastLine();
    end.consumed = consumed_;
    if (ended) Reap(&end);
    return end;
  }

 private:
  // Whether the process has ended.
  bool Step(absl::Duration left) {
    pollfd fds[3] = {{handle_.get(), POLLIN, 0},
                     {output_.get(), POLLIN, 0},
                     {input_.get(), POLLOUT, 0}};
    const int wait = static_cast<int>(absl::ToInt64Milliseconds(
        std::min(left + absl::Milliseconds(1), absl::Minutes(1))));
    if (poll(fds, 3, wait) < 0) return false;  // a signal
    if (fds[2].revents != 0) WriteInput();
    if (fds[1].revents != 0) ReadOutput();
    return fds[0].revents != 0;
  }

  void WriteInput() {
    for (int round = 0; round < 16 && input_; ++round) {
      if (at_ == piece_.size() && !NextPiece()) {
        input_.Reset();
        return;
      }
      const ssize_t n =
          write(input_.get(), piece_.data() + at_, piece_.size() - at_);
      if (n >= 0) {
        at_ += static_cast<size_t>(n);
      } else if (errno != EINTR && errno != EAGAIN) {
        input_.Reset();  // it does not want the rest
        return;
      } else if (errno == EAGAIN) {
        return;
      }
    }
  }

  // False: there is none; `consumed_` says whether for good.
  bool NextPiece() {
    at_ = 0;
    if (done_ == run_.bytes) {
      consumed_ = true;
      return false;
    }
    piece_.resize(
        std::min(kPieceBytes, static_cast<size_t>(run_.bytes - done_)));
    ssize_t n;
    do {
      n = pread(run_.input, &piece_[0], piece_.size(), run_.offset + done_);
    } while (n < 0 && errno == EINTR);
    piece_.resize(n > 0 ? static_cast<size_t>(n) : 0);
    done_ += static_cast<off_t>(piece_.size());
    return n > 0;
  }

  // What there is now: at most a little more than a pipe holds, so that what
  // it has left running can't keep us here.
  void ReadOutput() {
    char bytes[4096];
    for (int round = 0; round < 32 && output_; ++round) {
      const ssize_t n = read(output_.get(), bytes, sizeof bytes);
      if (n > 0) {
        said_.Append(bytes, static_cast<size_t>(n));
      } else if (n == 0) {
        output_.Reset();
      } else if (errno != EINTR) {
        return;
      }
    }
  }

  void Kill() {
    // Its session; it may not have come so far as to make one.
    kill(-pid_, SIGKILL);
    kill(pid_, SIGKILL);
  }

  void Reap(CommandEnd* end) {
    int status = 0;
    rusage used = {};
    while (wait4(pid_, &status, 0, &used) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status)) {
      end->how = CommandEnd::How::kSignalled;
      end->value = WTERMSIG(status);
    } else {
      end->how = CommandEnd::How::kExited;
      end->value = WEXITSTATUS(status);
    }
    end->limit = LimitReached(*end, run_.limits,
                              static_cast<uint64_t>(used.ru_maxrss) << 10);
  }

  const CommandRun& run_;
  pid_t pid_ = 0;
  OwnedFd handle_, input_, output_;
  std::string piece_;
  size_t at_ = 0;   // in piece_
  off_t done_ = 0;  // read from the file
  bool consumed_ = false;
  Output said_;
};

}  // namespace

const char* LimitReached(const CommandEnd& end, const CommandLimits& limits,
                         uint64_t peak) {
  if (end.how == CommandEnd::How::kExited && end.value == 0) return nullptr;
  const std::string said = absl::AsciiStrToLower(end.last_line);
  if (limits.descriptors != 0 && absl::StrContains(said, "too many open files"))
    return "descriptor limit";
  if (limits.memory == 0) return nullptr;
  // As strerror(3), shells, perl, GNU's programs, Python and C++ have it.
  for (const char* words : {"cannot allocate", "out of memory", "out of space",
                            "memory exhausted", "memoryerror", "bad_alloc"}) {
    if (absl::StrContains(said, words)) return "memory limit";
  }
  // Who chose one of these statuses knew better than we.
  if (end.how == CommandEnd::How::kExited && SysexitName(end.value) != nullptr)
    return nullptr;
  return peak >= limits.memory / 8 * 7 ? "memory limit" : nullptr;
}

CommandEnd RunCommand(const CommandRun& run) {
  Child child(run);
  if (const int error = child.Start(); error != 0) {
    CommandEnd end;
    end.last_line = absl::StrCat("/bin/sh: ", strerror(error));
    return end;
  }
  return child.Wait();
}

const char* SysexitName(int status) {
  static constexpr const char* kNames[] = {
      "command line usage error",       // 64
      "data format error",              // 65
      "cannot open input",              // 66
      "user unknown",                   // 67
      "host name unknown",              // 68
      "service unavailable",            // 69
      "internal software error",        // 70
      "system resource problem",        // 71
      "critical OS file missing",       // 72
      "can't create user output file",  // 73
      "input/output error",             // 74
      "temporary failure",              // 75
      "remote error in protocol",       // 76
      "permission denied",              // 77
      "local configuration error",      // 78
  };
  if (status < 64 || status > 78) return nullptr;
  return kNames[status - 64];
}

}  // namespace holdfast
