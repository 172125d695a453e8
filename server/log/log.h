// Log lines, in the reference's texts (part 1 section 7, part 2 section 8).
//
// To syslog (facility mail, ident smtpd), or with -d to stderr without time or
// ident.  Lines are gathered and written by Flush(), which every event loop
// calls at the end of a turn (InstallLogFlush), so that a line costs no system
// call of its own; Fatal() and a failed check flush first.  Safe from any
// thread.  Text from outside (replies, commands, names) goes through
// VisEncode() before it comes here; as a last line of defence control
// characters are escaped here too.
#ifndef HOLDFAST_SERVER_LOG_LOG_H_
#define HOLDFAST_SERVER_LOG_LOG_H_

#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace holdfast {

enum class LogLevel { kDebug, kInfo, kWarning, kFatal };

enum class LogSink { kStderr, kSyslog };

// Call first, and before chroot: it opens what it needs.  Until then lines go
// to stderr at once.
void OpenLog(LogSink sink, bool verbose);
void SetLogVerbose(bool verbose);
bool LogIsVerbose();

void LogLine(LogLevel level, absl::string_view line);
void FlushLog();

template <typename... Args>
void LogInfo(const absl::FormatSpec<Args...>& format, const Args&... args) {
  LogLine(LogLevel::kInfo, absl::StrFormat(format, args...));
}
// Priority ERR; the text carries its own "warn: ", as the reference's do.
template <typename... Args>
void LogWarn(const absl::FormatSpec<Args...>& format, const Args&... args) {
  LogLine(LogLevel::kWarning, absl::StrFormat(format, args...));
}
template <typename... Args>
void LogDebug(const absl::FormatSpec<Args...>& format, const Args&... args) {
  if (LogIsVerbose())
    LogLine(LogLevel::kDebug, absl::StrFormat(format, args...));
}
// Writes the line (priority CRIT) and ends the process with status 1.
[[noreturn]] void Fatal(absl::string_view line);

// Calls FlushLog() at the end of each turn of `loop` in which a line came.
class EventLoop;
void InstallLogFlush(EventLoop* loop);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOG_LOG_H_
