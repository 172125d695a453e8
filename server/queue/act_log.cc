#include "server/queue/act_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "protocol/vis.h"
#include "server/log/log.h"
#include "storage/owned_fd.h"

namespace holdfast {
namespace {

std::string Stamp(absl::Time now) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", now, absl::UTCTimeZone());
}

std::string Quoted(absl::string_view text) {
  return absl::StrCat(
      "\"", absl::StrReplaceAll(VisEncode(text), {{"\"", "\\\""}}), "\"");
}

// Takes the text between quotation marks at the start of `rest`.
std::string TakeQuoted(absl::string_view* rest) {
  std::string text;
  size_t at = 1;
  for (; at < rest->size() && (*rest)[at] != '"'; ++at) {
    const bool escaped = (*rest)[at] == '\\' && at + 1 < rest->size() &&
                         ((*rest)[at + 1] == '"' || (*rest)[at + 1] == '\\');
    text += (*rest)[escaped ? ++at : at];
  }
  rest->remove_prefix(std::min(rest->size(), at + 1));
  return text;
}

std::string TakeWord(absl::string_view* rest) {
  const size_t end = std::min(rest->find(' '), rest->size());
  const std::string word(rest->substr(0, end));
  rest->remove_prefix(end);
  return word;
}

absl::Status SystemError(const std::string& path) {
  return absl::InternalError(absl::StrCat(path, ": ", strerror(errno)));
}

}  // namespace

std::string ActBeginLine(absl::Time now, const std::string& number,
                         const ActPeer& peer, const PlannedAct& plan) {
  return absl::StrCat(Stamp(now), " begin ", number, " uid=", peer.uid,
                      " pid=", peer.pid, " found=", plan.envelopes.size(),
                      " act=", Quoted(ActText(plan.act)),
                      " filter=", Quoted(plan.filter_text));
}

std::string ActEndLine(absl::Time now, const std::string& number,
                       const ActCounts& counts, absl::string_view result) {
  return absl::StrCat(Stamp(now), " end ", number, " done=", counts.done,
                      " waiting=", counts.waiting,
                      " so-already=", counts.so_already,
                      " changed=", counts.changed, " gone=", counts.gone,
                      " failed=", counts.failed, " result=", Quoted(result));
}

std::string MoveBeginLine(absl::Time now, const std::string& number,
                          const ActPeer& peer, absl::string_view filter) {
  return absl::StrCat(Stamp(now), " begin ", number, " uid=", peer.uid,
                      " pid=", peer.pid, " act=", Quoted("export --move"),
                      " filter=", Quoted(filter));
}

std::string MoveEndLine(absl::Time now, const std::string& number,
                        uint64_t moved, absl::string_view result) {
  return absl::StrCat(Stamp(now), " end ", number, " done=", moved,
                      " result=", Quoted(result));
}

Json ActLineJson(absl::string_view line) {
  Json json;
  for (const char* name : {"time", "event", "number"}) {
    json[name] = TakeWord(&line);
    absl::ConsumePrefix(&line, " ");
  }
  while (!line.empty()) {
    const size_t equals = std::min(line.find('='), line.size());
    const std::string name(line.substr(0, equals));
    line.remove_prefix(std::min(line.size(), equals + 1));
    if (absl::StartsWith(line, "\"")) {
      json[name] = TakeQuoted(&line);
    } else {
      const std::string word = TakeWord(&line);
      uint64_t number = 0;
      json[name] = absl::SimpleAtoi(word, &number) ? Json(number) : Json(word);
    }
    absl::ConsumePrefix(&line, " ");
  }
  return json;
}

std::string ActLogPath(const Config& config) {
  return PathsBelow(config.spool).store + "/acts.log";
}

void AppendToActLog(QueueServices* services, std::string line) {
  services->store()->ReadLater(
      [line = std::move(line), path = ActLogPath(services->config()),
       loop = services->loop()](absl::StatusOr<const QueueView*>) {
        const absl::Status status = AppendActLine(path, line);
        if (status.ok()) return;
        loop->Post([text = std::string(status.message())] {
          LogWarn("warn: queue: %s", text);
        });
      });
}

absl::Status AppendActLine(const std::string& path, const std::string& line,
                           uint64_t max_bytes) {
  struct stat st = {};
  const std::string text = absl::StrCat(line, "\n");
  if (lstat(path.c_str(), &st) == 0 &&
      static_cast<uint64_t>(st.st_size) + text.size() > max_bytes &&
      rename(path.c_str(), absl::StrCat(path, ".1").c_str()) != 0)
    return SystemError(path);
  const OwnedFd fd(open(path.c_str(),
                        O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
                        0600));
  if (!fd) return SystemError(path);
  if (fstat(fd.get(), &st) != 0) return SystemError(path);
  const ssize_t n = write(fd.get(), text.data(), text.size());
  if (n < 0) return SystemError(path);
  if (static_cast<size_t>(n) != text.size()) {
    // Half a line would swallow the next one.
    if (ftruncate(fd.get(), st.st_size) != 0) return SystemError(path);
    return absl::ResourceExhaustedError(absl::StrCat(path, ": no room"));
  }
  return fdatasync(fd.get()) == 0 ? absl::OkStatus() : SystemError(path);
}

}  // namespace holdfast
