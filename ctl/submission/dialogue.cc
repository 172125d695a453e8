#include "ctl/submission/dialogue.h"

#include <errno.h>
#include <sys/types.h>
#include <unistd.h>

#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "ctl/control/whole_io.h"
#include "ctl/submission/message_body.h"

namespace holdfast {
namespace {

constexpr size_t kMaxReplyLine = 4096;
constexpr int kMaxReplyLines = 100;

using Verbose = absl::FunctionRef<void(absl::string_view)>;

class Connection {
 public:
  Connection(int fd, Verbose verbose) : fd_(fd), verbose_(verbose) {}

  // The last line of the next reply; nullopt: the peer is gone or does not
  // speak SMTP.
  std::optional<std::string> Reply() {
    for (int lines = 0; lines < kMaxReplyLines; ++lines) {
      std::optional<std::string> line = Line();
      if (!line) return std::nullopt;
      verbose_(absl::StrCat("<<< ", *line, "\n"));
      if (line->size() < 3 || !absl::ascii_isdigit((*line)[0]) ||
          !absl::ascii_isdigit((*line)[1]) || !absl::ascii_isdigit((*line)[2]))
        return std::nullopt;
      if (line->size() == 3 || (*line)[3] != '-') return line;
    }
    return std::nullopt;
  }

  std::optional<std::string> Command(absl::string_view command) {
    verbose_(absl::StrCat(">>> ", command, "\n"));
    if (!WriteAll(fd_, absl::StrCat(command, "\r\n"))) return std::nullopt;
    return Reply();
  }

 private:
  std::optional<std::string> Line() {
    for (;;) {
      const size_t end = buffer_.find('\n');
      if (end != std::string::npos) {
        std::string line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        if (!line.empty() && line.back() == '\r') line.pop_back();
        return line;
      }
      if (buffer_.size() > kMaxReplyLine) return std::nullopt;
      char bytes[4096];
      const ssize_t n = read(fd_, bytes, sizeof bytes);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return std::nullopt;
      buffer_.append(bytes, static_cast<size_t>(n));
    }
  }

  const int fd_;
  Verbose verbose_;
  std::string buffer_;
};

std::string MailCommand(const Submission& s) {
  return absl::StrCat("MAIL FROM:<", s.sender, ">",
                      s.ret.empty() ? "" : " RET=", s.ret,
                      s.envid.empty() ? "" : " ENVID=", s.envid);
}

std::string RcptCommand(const Submission& s, const std::string& recipient) {
  return absl::StrCat("RCPT TO:<", recipient, ">",
                      s.notify.empty() ? "" : " NOTIFY=", s.notify);
}

// Sends the text and the final dot.
bool SendText(int fd, const Submission& s) {
  DotStuffing stuffing;
  std::string wire;
  const bool sent = ForEachPiece(s, [&](absl::string_view piece) {
    wire.clear();
    stuffing.Write(piece, &wire);
    return WriteAll(fd, wire);
  });
  return sent && WriteAll(fd, ".\r\n");
}

}  // namespace

bool ForEachPiece(const Submission& s,
                  absl::FunctionRef<bool(absl::string_view)> write) {
  if (!write(s.head)) return false;
  char bytes[65536];
  for (off_t at = 0;;) {
    const ssize_t n = pread(s.body_fd, bytes, sizeof bytes, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    if (n == 0) return true;
    if (!write({bytes, static_cast<size_t>(n)})) return false;
    at += n;
  }
}

SubmissionResult Submit(int fd, const Submission& s, Verbose verbose) {
  Connection connection(fd, verbose);
  std::optional<std::string> reply = connection.Reply();
  if (!reply) return {SubmissionResult::kNotConnected, ""};
  if ((*reply)[0] != '2') return {SubmissionResult::kNotAllowed, *reply};

  std::vector<std::string> commands = {"EHLO localhost", MailCommand(s)};
  for (const std::string& recipient : s.recipients)
    commands.push_back(RcptCommand(s, recipient));
  for (const std::string& command : commands) {
    reply = connection.Command(command);
    if (!reply) return {SubmissionResult::kNotConnected, ""};
    if ((*reply)[0] != '2') return {SubmissionResult::kRefused, *reply};
  }
  reply = connection.Command("DATA");
  if (!reply) return {SubmissionResult::kNotConnected, ""};
  if ((*reply)[0] != '3') return {SubmissionResult::kRefused, *reply};

  verbose(">>> .\n");
  const bool sent = SendText(fd, s);
  reply = connection.Reply();
  // It may say why it hung up; without the final dot nothing was accepted.
  if (!sent && (!reply || (*reply)[0] == '2'))
    return {SubmissionResult::kUnknown, "write error"};
  if (!reply) return {SubmissionResult::kUnknown, "connection closed"};
  if ((*reply)[0] != '2') return {SubmissionResult::kRefused, *reply};
  // It is the daemon's now, whatever it says to this.
  (void)connection.Command("QUIT");
  return {SubmissionResult::kAccepted, *reply};
}

}  // namespace holdfast
