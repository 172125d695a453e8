// The body of a submitted message, streamed: line ends, and quoted-printable
// where lines are too long for SMTP.  Pure.
#ifndef HOLDFAST_CTL_SUBMISSION_MESSAGE_BODY_H_
#define HOLDFAST_CTL_SUBMISSION_MESSAGE_BODY_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

// A line of this many bytes makes the body quoted-printable (reference part 2,
// section 6.2).
inline constexpr size_t kLongLine = 990;

// Makes line ends LF, whatever pieces the input comes in.
class LineEnds {
 public:
  void Write(absl::string_view bytes, std::string* out);
  // Ends a last line that has no end.
  void Finish(std::string* out);

  // Some line has kLongLine bytes, or holds a CR that ends no line, which SMTP
  // does not carry.
  bool needs_encoding() const { return needs_encoding_; }

 private:
  void Put(char c, std::string* out);

  bool cr_ = false;
  size_t column_ = 0;
  bool needs_encoding_ = false;
};

// RFC 2045 section 6.7, of text with LF line ends.
class QuotedPrintable {
 public:
  void Write(absl::string_view bytes, std::string* out);
  void Finish(std::string* out);

 private:
  void Emit(absl::string_view token, std::string* out);

  size_t column_ = 0;
  char blank_ = 0;  // a blank whose line may end behind it
};

// Text with LF line ends as it goes over SMTP: CRLF, leading dots doubled (RFC
// 5321 section 4.5.2).  The final dot is not its.
class DotStuffing {
 public:
  void Write(absl::string_view bytes, std::string* out);

 private:
  bool line_start_ = true;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_SUBMISSION_MESSAGE_BODY_H_
