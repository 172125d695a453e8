// What sendmail does with the headers of a message it is given (reference part
// 2, section 6.2): finds sender and recipients, drops Bcc, adds what is
// missing.  Pure.
#ifndef HOLDFAST_CTL_SUBMISSION_MESSAGE_HEADERS_H_
#define HOLDFAST_CTL_SUBMISSION_MESSAGE_HEADERS_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace holdfast {

// More than this is not taken for headers but refused.
inline constexpr size_t kMaxSubmittedHeaders = 4 << 20;

class MessageHeaders {
 public:
  enum class Taken {
    kHeader,     // kept (or dropped); the next line, please
    kSeparator,  // the empty line behind the headers: the body follows
    kBody,       // belongs to the body, which has no separator before it
    kTooLong,    // kMaxSubmittedHeaders
  };

  // The next line, without its end.  Not called again after anything but
  // kHeader.
  Taken Line(absl::string_view line);

  // No header that we know stands among them: all of it is the body's start.
  bool Unknown() const { return !known_; }
  // The headers to keep, each line with LF; if Unknown() all that was read.
  const std::string& text() const { return known_ ? kept_ : raw_; }

  bool has_from() const { return has_from_; }
  bool has_date() const { return has_date_; }
  bool has_encoding() const { return has_encoding_; }
  bool has_mime_version() const { return has_mime_version_; }
  bool has_content_type() const { return has_content_type_; }
  bool has_content_disposition() const { return has_content_disposition_; }

  // The first address in From; empty if there is none (or none that can be
  // read).
  std::string Sender() const;
  // The addresses in To, Cc and Bcc.  kInvalidArgument: "syntax error in
  // address".
  absl::StatusOr<std::vector<std::string>> Recipients() const;
  // Those of Bcc alone, whose header is dropped.
  absl::StatusOr<std::vector<std::string>> BlindRecipients() const;

 private:
  enum class Field { kOther, kFrom, kRecipients, kBlind, kDropped };

  Field Recognise(absl::string_view line);
  void Keep(absl::string_view line, absl::string_view value);

  std::string raw_, kept_;
  std::string from_, recipients_, blind_;
  Field field_ = Field::kDropped;
  bool in_header_ = false;  // a continuation may follow
  bool known_ = false;
  bool has_from_ = false, has_date_ = false, has_encoding_ = false;
  bool has_mime_version_ = false, has_content_type_ = false;
  bool has_content_disposition_ = false;
};

struct HeaderAdditions {
  std::string sender;     // for From; "user@domain"
  std::string full_name;  // may be empty
  absl::Time now;
  absl::TimeZone zone;
  // The body is going to be quoted-printable.
  bool quoted_printable = false;
};

// All that stands before the body: the headers that are missing, those that
// were there, the empty line.
std::string CompleteHeaders(const MessageHeaders& headers,
                            const HeaderAdditions& additions);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_SUBMISSION_MESSAGE_HEADERS_H_
