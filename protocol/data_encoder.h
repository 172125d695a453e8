// A message as it goes over the wire behind DATA (RFC 5321 section 4.5.2) or in
// BDATs (RFC 3030).
#ifndef HOLDFAST_PROTOCOL_DATA_ENCODER_H_
#define HOLDFAST_PROTOCOL_DATA_ENCODER_H_

#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

// Turns text whose lines end with LF, given in pieces cut anywhere, into lines
// that end with CRLF, with dots at their beginning doubled.  Nothing that a
// stored body holds can end the data early: no CR and no LF is written but in
// CRLF.  A CR before LF belongs to the line end; any other becomes a space.
class DataEncoder {
 public:
  // With `dots` for DATA, without for BDAT, where lines are not changed.
  explicit DataEncoder(bool dots = true) : dots_(dots) {}

  void Append(absl::string_view text, std::string* out);
  // Completes a last line that has no LF and writes the final dot, for DATA.
  void Finish(std::string* out);

 private:
  void AppendLines(absl::string_view text, std::string* out);

  bool dots_;
  bool line_start_ = true;
  bool pending_cr_ = false;  // the last byte was a CR; what follows decides
};

// The message of BODY=BINARYMIME for BDAT (RFC 3030): the lines of its header
// get CRLF, what is behind it goes as it is.
class BinaryEncoder {
 public:
  void Append(absl::string_view text, std::string* out);

 private:
  bool in_header_ = true;
  bool line_empty_ = true;  // so far
};

// The same message for a mailbox: CRLF becomes LF, the last line gets one; all
// other octets stay.
class BinaryText {
 public:
  void Append(absl::string_view text, std::string* out);
  void Finish(std::string* out);

 private:
  bool pending_cr_ = false;
  bool line_start_ = true;
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_DATA_ENCODER_H_
