#include "server/log/log.h"

#include <stdlib.h>
#include <syslog.h>
#include <unistd.h>

#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/loop/event_loop.h"

namespace holdfast {
namespace {

// Above this much waiting text a line is written at once: a loop that never
// ends its turn must not gather without bound.
constexpr size_t kMaxGathered = 1 << 20;

struct Line {
  LogLevel level;
  std::string text;
};

struct LogState {
  std::mutex mutex;
  LogSink sink = LogSink::kStderr;
  bool verbose = false;
  bool gather = false;  // a loop will flush
  std::vector<Line> lines;
  size_t bytes = 0;
};

LogState& State() {
  static LogState* state = new LogState;  // lives as long as the process
  return *state;
}

int Priority(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return LOG_DEBUG;
    case LogLevel::kInfo:
      return LOG_INFO;
    case LogLevel::kWarning:
      return LOG_ERR;
    case LogLevel::kFatal:
      return LOG_CRIT;
  }
  return LOG_ERR;
}

// A line is one line, whatever was put into it.
std::string OneLine(absl::string_view text) {
  std::string out;
  out.reserve(text.size() + 1);
  for (const char c : text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
      absl::StrAppend(
          &out, "\\",
          absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
    } else {
      out.push_back(c);
    }
  }
  return out;
}

void WriteAll(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(STDERR_FILENO, bytes.data(), bytes.size());
    if (n <= 0) return;  // nowhere to say it
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

void FlushLocked(LogState& state) {
  if (state.lines.empty()) return;
  if (state.sink == LogSink::kStderr) {
    std::string out;
    out.reserve(state.bytes + state.lines.size());
    for (const Line& line : state.lines) absl::StrAppend(&out, line.text, "\n");
    WriteAll(out);
  } else {
    for (const Line& line : state.lines)
      syslog(Priority(line.level), "%s", line.text.c_str());
  }
  state.lines.clear();
  state.bytes = 0;
}

}  // namespace

void OpenLog(LogSink sink, bool verbose) {
  LogState& state = State();
  std::lock_guard<std::mutex> lock(state.mutex);
  state.sink = sink;
  state.verbose = verbose;
  // LOG_NDELAY: the socket is opened now, before a chroot hides it.
  if (sink == LogSink::kSyslog)
    openlog("smtpd", LOG_PID | LOG_NDELAY, LOG_MAIL);
}

void SetLogVerbose(bool verbose) {
  LogState& state = State();
  std::lock_guard<std::mutex> lock(state.mutex);
  state.verbose = verbose;
}

bool LogIsVerbose() {
  LogState& state = State();
  std::lock_guard<std::mutex> lock(state.mutex);
  return state.verbose;
}

void LogLine(LogLevel level, absl::string_view line) {
  LogState& state = State();
  std::lock_guard<std::mutex> lock(state.mutex);
  state.lines.push_back({level, OneLine(line)});
  state.bytes += line.size();
  if (!state.gather || state.bytes > kMaxGathered) FlushLocked(state);
}

void FlushLog() {
  LogState& state = State();
  std::lock_guard<std::mutex> lock(state.mutex);
  FlushLocked(state);
}

void Fatal(absl::string_view line) {
  LogLine(LogLevel::kFatal, line);
  FlushLog();
  _exit(1);
}

void InstallLogFlush(EventLoop* loop) {
  {
    LogState& state = State();
    std::lock_guard<std::mutex> lock(state.mutex);
    state.gather = true;
  }
  loop->OnEveryTurnEnd([] { FlushLog(); });
}

}  // namespace holdfast
