// The text of a message as it comes over the wire: lines that end with CRLF,
// dot-stuffed for DATA (RFC 5321 section 4.5.2), plain for BDAT (RFC 3030).
#ifndef HOLDFAST_PROTOCOL_DATA_DECODER_H_
#define HOLDFAST_PROTOCOL_DATA_DECODER_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

// A line of a message may have fewer octets than this, line end not counted.
inline constexpr size_t kMaxTextLineBytes = 65535;

// Turns wire text into stored text, whose lines end with LF.  Only CRLF ends a
// line, and only CRLF "." CRLF (the first CRLF may be that of the DATA command)
// ends a dot-stuffed text: a CR without LF, an LF without CR and a NUL are
// content, and noted, so that the message can be read to its true end and then
// be refused.  What comes out does not depend on how the bytes were cut.
//
// Of BODY=BINARYMIME (RFC 3030 section 3) only the header is text of lines;
// what is behind the first empty line is kept octet by octet, whatever it is.
class DataDecoder {
 public:
  enum class Framing { kDots, kCounted, kBinary };
  enum class Result { kNeedMore, kDone };

  // `normalise`: a bare LF is a line end in what comes out, too.  It still
  // begins no line on the wire: no dot behind it is dropped or ends the text.
  explicit DataDecoder(Framing framing, bool normalise = false)
      : framing_(framing), normalise_(normalise) {}

  // Consumes from `*in` and appends to `*out`.  At kDone (kDots only) the
  // final dot line was consumed, and `*in` holds what is behind it.
  Result Decode(absl::string_view* in, std::string* out);

  // Counted text has ended: completes a last line that has no line end.
  void Finish(std::string* out);

  // A bare CR, a bare LF (unless normalised) or a NUL has been seen.
  bool has_bare_newline() const { return bare_newline_; }
  bool has_long_line() const { return long_line_; }

  // Octets so far as the reference counts them against the limit: each line
  // without its CRLF, but with the stuffed dot, and one more.
  uint64_t size() const { return size_; }

 private:
  // What has been read last.
  enum class At { kLineStart, kMidLine, kCr, kDot, kDotCr };

  void DecodeLines(absl::string_view* in, std::string* out);
  bool TakeUpToLineEnd(absl::string_view* in, std::string* out);
  void Content(absl::string_view bytes, std::string* out);
  void EndLine(std::string* out);

  Framing framing_;
  bool normalise_;
  bool in_body_ = false;  // kBinary: behind the empty line
  At at_ = At::kLineStart;
  bool done_ = false;
  bool bare_newline_ = false;
  bool long_line_ = false;
  size_t line_bytes_ = 0;  // of the present line
  uint64_t size_ = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_DATA_DECODER_H_
