// Replies of an SMTP or LMTP server, as a client reads them (RFC 5321 section
// 4.2).  The server is not trusted: a reply has a bounded number of lines of
// bounded length, and what isn't a reply is an error.
#ifndef HOLDFAST_PROTOCOL_SMTP_CLIENT_REPLY_H_
#define HOLDFAST_PROTOCOL_SMTP_CLIENT_REPLY_H_

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/envelope.h"

namespace holdfast {

inline constexpr size_t kMaxReplyLineBytes = 4096;
inline constexpr size_t kMaxReplyLines = 100;
// Of the folded text; the rest is cut.
inline constexpr size_t kMaxReplyTextBytes = 2047;

struct SmtpReply {
  int code = 0;  // 200 to 599
  // One line, as results and logs have it: the first line verbatim, with its
  // '-' if there are more; of the following ones what stands behind the code
  // and an enhanced code ("550-5.1.1 No such user here at all").
  std::string text;
  // Of each line what stands behind the code and the separator.
  std::vector<std::string> lines;

  int klass() const { return code / 100; }
  // From the first line, if it has one of the reply's class; else class.0.0.
  // A detail that can't be kept (EnhancedStatus) becomes 0.
  EnhancedStatus Enhanced() const;
};

class SmtpReplyParser {
 public:
  // Takes bytes off the front of `bytes` until a reply is complete or there
  // are none left.  True: `*reply` is complete.  An error ends the session;
  // its text is the reference's: "Input too long", "Bad response: <line>".
  absl::StatusOr<bool> Parse(absl::string_view* bytes, SmtpReply* reply);

  // From now on `on_line` gets each line as it comes, without its line end,
  // also one that is no part of a reply.
  void WatchLines(absl::AnyInvocable<void(absl::string_view)> on_line) {
    on_line_ = std::move(on_line);
  }

  // Whether a reply has begun and isn't complete.
  bool InReply() const { return !line_.empty() || !reply_.lines.empty(); }

 private:
  absl::StatusOr<bool> TakeLine(absl::string_view line);

  std::string line_;  // the beginning of a line whose end is still to come
  SmtpReply reply_;
  absl::AnyInvocable<void(absl::string_view)> on_line_;  // null: nobody
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_SMTP_CLIENT_REPLY_H_
