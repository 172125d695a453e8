#include "ctl/submission/sendmail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "ctl/control/control_client.h"
#include "ctl/control/whole_io.h"
#include "ctl/submission/dialogue.h"
#include "ctl/submission/identity.h"
#include "ctl/submission/message_body.h"
#include "ctl/submission/message_headers.h"
#include "ctl/submission/offline_spool.h"
#include "ctl/submission/sendmail_options.h"
#include "protocol/address_list.h"

namespace holdfast {
namespace {

// RFC 5321 section 4.5.3.2: no answer takes longer.
constexpr int kTimeoutSeconds = 600;

// How a run ends; kept until all is cleaned up.
struct Exit {
  int status = 0;
  std::string error;  // without "sendmail: " and line end
};

Exit Ok() { return {}; }
Exit Fail(int status, absl::string_view error) {
  return {status, std::string(error)};
}

bool HasControl(absl::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || c == 0x7f;
  });
}

class Sendmail {
 public:
  Sendmail(const std::vector<std::string>& arguments, SendmailOptions options,
           const SpoolPaths& paths)
      : arguments_(arguments), options_(std::move(options)), paths_(paths) {}
  ~Sendmail() {
    if (body_ != nullptr) fclose(body_);
    if (encoded_ != nullptr) fclose(encoded_);
  }

  Exit Run() {
    mail_name_ = ReadMailName();
    if (mail_name_.empty()) return Fail(EX_NOHOST, "getmailname");
    who_ = ReadIdentity(!options_.no_login_name);
    for (Exit (Sendmail::*step)() :
         {&Sendmail::CheckOptions, &Sendmail::ReadMessage,
          &Sendmail::FindSender, &Sendmail::FindRecipients,
          &Sendmail::Complete}) {
      Exit exit = (this->*step)();
      if (exit.status != 0) return exit;
    }
    return HandOver();
  }

 private:
  // What goes verbatim into a command must not end it.
  Exit CheckOptions() {
    for (const std::string& word :
         {options_.notify, options_.ret, options_.envid})
      if (HasControl(word)) return Fail(1, "invalid argument");
    return Ok();
  }

  Exit ReadMessage() {
    body_ = tmpfile();
    if (body_ == nullptr) return Fail(EX_OSERR, strerror(errno));
    char buffer[65536];
    for (;;) {
      const ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0)
        return Fail(EX_IOERR, absl::StrCat("read error: ", strerror(errno)));
      text_.clear();
      if (n == 0) {
        ends_.Finish(&text_);
      } else {
        ends_.Write({buffer, static_cast<size_t>(n)}, &text_);
      }
      Exit exit = TakeText();
      if (exit.status != 0) return exit;
      if (n == 0) return EndOfText();
    }
  }

  // Headers line by line, then the body as it comes.
  Exit TakeText() {
    absl::string_view text = text_;
    while (in_headers_ && !text.empty()) {
      const size_t end = text.find('\n');
      absl::StrAppend(&line_, text.substr(0, end));
      if (line_.size() > kMaxSubmittedHeaders)
        return Fail(EX_DATAERR, "message header too long");
      if (end == absl::string_view::npos) return Ok();
      text.remove_prefix(end + 1);
      const std::string line = std::move(line_);
      line_.clear();
      switch (headers_.Line(line)) {
        case MessageHeaders::Taken::kHeader:
          break;
        case MessageHeaders::Taken::kTooLong:
          return Fail(EX_DATAERR, "message header too long");
        case MessageHeaders::Taken::kSeparator:
          EndHeaders("\n");
          break;
        case MessageHeaders::Taken::kBody:
          EndHeaders(line + "\n");
          break;
      }
    }
    return PutBody(text);
  }

  // `first`: the line that ended them.
  void EndHeaders(const std::string& first) {
    in_headers_ = false;
    if (headers_.Unknown()) {
      (void)PutBody(headers_.text());
      (void)PutBody(first);
    } else if (first != "\n") {
      (void)PutBody(first);
    }
  }

  Exit EndOfText() {
    if (in_headers_) {
      in_headers_ = false;
      if (headers_.Unknown()) (void)PutBody(headers_.text());
    }
    if (fflush(body_) != 0 || ferror(body_) != 0)
      return Fail(EX_IOERR, absl::StrCat("temporary file: ", strerror(errno)));
    return Ok();
  }

  Exit PutBody(absl::string_view text) {
    if (fwrite(text.data(), 1, text.size(), body_) != text.size())
      return Fail(EX_IOERR, absl::StrCat("temporary file: ", strerror(errno)));
    return Ok();
  }

  std::string WithDomain(const std::string& address) const {
    if (address.empty() ||
        absl::string_view(address).find('@') != absl::string_view::npos)
      return address;
    return absl::StrCat(address, "@", mail_name_);
  }

  Exit FindSender() {
    if (options_.sender) {
      if (options_.sender->empty()) return Ok();
      absl::StatusOr<std::vector<std::string>> list =
          ParseAddressList(*options_.sender);
      if (!list.ok() || list->size() != 1)
        return Fail(1, "syntax error in address");
      submission_.sender = WithDomain(list->front());
      return Ok();
    }
    submission_.sender = headers_.Sender();
    if (submission_.sender.empty()) submission_.sender = who_.login;
    submission_.sender = WithDomain(submission_.sender);
    return Ok();
  }

  Exit FindRecipients() {
    std::vector<std::string> found;
    for (const std::string& argument : options_.recipients) {
      absl::StatusOr<std::vector<std::string>> list =
          ParseAddressList(argument);
      if (!list.ok()) return Fail(1, list.status().message());
      found.insert(found.end(), list->begin(), list->end());
    }
    if (options_.recipients_from_headers) {
      absl::StatusOr<std::vector<std::string>> list = headers_.Recipients();
      if (!list.ok()) return Fail(1, list.status().message());
      found.insert(found.end(), list->begin(), list->end());
      blind_ = *headers_.BlindRecipients();
    }
    if (found.empty()) return Fail(EX_SOFTWARE, "no recipients");
    for (const std::string& address : found)
      submission_.recipients.push_back(WithDomain(address));
    return Ok();
  }

  // Headers that are missing; quoted-printable where SMTP needs it.
  Exit Complete() {
    HeaderAdditions additions;
    additions.sender = submission_.sender.empty()
                           ? absl::StrCat("MAILER-DAEMON@", mail_name_)
                           : submission_.sender;
    if (!options_.full_name.empty()) {
      additions.full_name = options_.full_name;
    } else if (!options_.sender) {
      additions.full_name = who_.full_name;
    }
    additions.now = absl::Now();
    additions.zone = absl::LocalTimeZone();
    additions.quoted_printable =
        ends_.needs_encoding() && !headers_.has_encoding();
    submission_.head = CompleteHeaders(headers_, additions);
    submission_.notify = options_.notify;
    submission_.ret = options_.ret;
    submission_.envid = options_.envid;
    submission_.body_fd = fileno(body_);
    return additions.quoted_printable ? EncodeBody() : Ok();
  }

  Exit EncodeBody() {
    encoded_ = tmpfile();
    if (encoded_ == nullptr) return Fail(EX_OSERR, strerror(errno));
    QuotedPrintable encoder;
    std::string out;
    Submission body;
    body.body_fd = fileno(body_);
    const bool ok = ForEachPiece(body, [&](absl::string_view piece) {
      out.clear();
      encoder.Write(piece, &out);
      return fwrite(out.data(), 1, out.size(), encoded_) == out.size();
    });
    out.clear();
    encoder.Finish(&out);
    if (!ok || fwrite(out.data(), 1, out.size(), encoded_) != out.size() ||
        fflush(encoded_) != 0)
      return Fail(EX_IOERR, absl::StrCat("temporary file: ", strerror(errno)));
    submission_.body_fd = fileno(encoded_);
    return Ok();
  }

  Exit HandOver() {
    absl::StatusOr<int> fd = ConnectUnix(paths_.enqueue_socket);
    if (!fd.ok()) return LeaveOffline();
    const timeval timeout = {kTimeoutSeconds, 0};
    setsockopt(*fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(*fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    const SubmissionResult result =
        Submit(*fd, submission_, [this](absl::string_view line) {
          if (options_.verbose) WriteAll(STDOUT_FILENO, line);
        });
    close(*fd);
    switch (result.kind) {
      case SubmissionResult::kAccepted:
        return Ok();
      case SubmissionResult::kNotConnected:
        return LeaveOffline();
      case SubmissionResult::kNotAllowed:
        return Fail(1, "server disallowed submission request");
      case SubmissionResult::kRefused:
        SaveDeadLetter();
        return Fail(EX_SOFTWARE,
                    absl::StrCat("command failed: ", result.line, "\n"));
      case SubmissionResult::kUnknown:
        SaveDeadLetter();
        return Fail(EX_TEMPFAIL, result.line);
    }
    return Fail(EX_SOFTWARE, "internal error");
  }

  Exit LeaveOffline() {
    // Run by the daemon on a file of the offline folder, which stays there.
    if (options_.no_login_name)
      return Fail(EX_TEMPFAIL, "smtpd doesn't seem to be running");
    absl::StatusOr<std::string> line = OfflineLine(arguments_, blind_);
    if (!line.ok()) return Fail(EX_SOFTWARE, line.status().message());
    const absl::Status stored =
        StoreOffline(paths_.offline, *line, submission_, absl::Now());
    if (stored.ok()) return Fail(EX_TEMPFAIL, "");
    SaveDeadLetter();
    return Fail(EX_TEMPFAIL, stored.message());
  }

  void SaveDeadLetter() {
    if (who_.home.empty()) return;
    const std::string path = who_.home + "/dead.letter";
    const int fd =
        open(path.c_str(),
             O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
             S_IRUSR | S_IWUSR);
    struct stat st;
    if (fd < 0) return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
      ForEachPiece(submission_, [&](absl::string_view piece) {
        return WriteAll(fd, piece);
      });
    close(fd);
  }

  const std::vector<std::string>& arguments_;
  const SendmailOptions options_;
  const SpoolPaths& paths_;
  std::string mail_name_;
  Identity who_;

  LineEnds ends_;
  std::string text_, line_;
  bool in_headers_ = true;
  MessageHeaders headers_;
  std::vector<std::string> blind_;
  FILE* body_ = nullptr;     // without a name, gone with the process
  FILE* encoded_ = nullptr;  // the same, quoted-printable
  Submission submission_;
};

}  // namespace

int RunSendmail(const std::vector<std::string>& arguments,
                const SpoolPaths& paths) {
  SendmailOptions options = ParseSendmailOptions(arguments);
  if (options.exit) {
    WriteAll(STDERR_FILENO, options.error);
    return *options.exit;
  }
  Sendmail sendmail(arguments, std::move(options), paths);
  const Exit exit = sendmail.Run();
  if (!exit.error.empty())
    WriteAll(STDERR_FILENO, absl::StrCat("sendmail: ", exit.error, "\n"));
  return exit.status;
}

bool WantsNewaliases(const std::vector<std::string>& arguments) {
  return std::find(arguments.begin(), arguments.end(), "-bi") !=
         arguments.end();
}

}  // namespace holdfast
