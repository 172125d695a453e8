// A queue file of Postfix: records of a type (one octet), a length (seven bits
// an octet, the lowest first) and octets.  An envelope, the content in lines,
// and what was found in the content.  Pure.
#ifndef HOLDFAST_CTL_SPOOL_POSTFIX_SPOOL_H_
#define HOLDFAST_CTL_SPOOL_POSTFIX_SPOOL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/envelope.h"

namespace holdfast {

// A file that can be read anywhere.
class RandomBytes {
 public:
  virtual ~RandomBytes() = default;
  virtual uint64_t size() const = 0;
  // Octets from `at` on, one at least and as many as it likes up to 64 KiB;
  // valid until the next call.  Empty: there are none, or an error.
  virtual absl::string_view From(uint64_t at) = 0;
};

struct PostfixRecipient {
  uint32_t number = 0;  // its place among all of them, delivered ones too; 1...
  uint64_t offset = 0;  // of its record, which Postfix's own logs name
  MailAddress address;  // where it goes
  MailAddress original;  // as it was accepted
  uint8_t notify = 0;    // DsnNotify
  std::string orcpt;     // "rfc822;xtext"
};

struct PostfixMessage {
  std::string queue_id;  // of the file when it came; may be empty
  absl::Time arrived;
  MailAddress sender;
  std::vector<PostfixRecipient> recipients;  // still to be delivered
  uint32_t delivered = 0;
  std::string helo, client_name, client_address, username;
  std::string envid;  // xtext
  DsnReturn ret = DsnReturn::kUnset;
  bool smtputf8 = false, eight_bit = false;
  // What a file may ask for and this does not do; empty: nothing.  "redirect"
  std::string unknown;
};

// More recipients than that of one message are not taken.
inline constexpr size_t kMaxPostfixRecipients = 10'000;
// Postfix cuts lines at 2,048 octets (line_length_limit).
inline constexpr size_t kMaxPostfixRecord = 1 << 20;

// Hands out the content with LF line ends, in pieces; an error of `body` ends
// it.  kInvalidArgument: not a whole queue file.  Reads no octet of the file
// more often than a few times, whatever its pointers say.
absl::StatusOr<PostfixMessage> ReadPostfixFile(
    RandomBytes* file, absl::FunctionRef<absl::Status(absl::string_view)> body);

// What Postfix noted of the last round of tries ("defer/ID"), by recipient.
struct PostfixDeferral {
  uint64_t offset = 0;  // PostfixRecipient's
  EnhancedStatus status;
  std::string reason;
};
inline constexpr size_t kMaxPostfixDeferLog = 4 << 20;
std::vector<PostfixDeferral> ParsePostfixDeferLog(absl::string_view text);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_SPOOL_POSTFIX_SPOOL_H_
