// A message with 8-bit text for a server without 8BITMIME (RFC 6152 section 3):
// the MIME parts that hold octets above 127 become quoted-printable (text) or
// base64 (others), with their Content-Transfer-Encoding.
//
// Parts are found by their boundaries, to any sensible depth, also in
// message/rfc822.  Header fields stay as they are, but for
// Content-Transfer-Encoding, which moves to the end of its header.  A part that
// must not be touched (multipart/signed) or can't be encoded (message/partial
// and such) and holds 8-bit octets is an obstacle.
//
// Whether a part is of 7 bits is known only when it has ended: of each the
// first kLookaheadBytes are held back, and one that is longer and so far of 7
// bits is encoded anyway, which changes nothing for who reads it.
//
// Memory is bounded: what is held back, one header field, and the boundaries.
#ifndef HOLDFAST_PROTOCOL_MIME_DOWNGRADE_H_
#define HOLDFAST_PROTOCOL_MIME_DOWNGRADE_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "protocol/mime_part_header.h"
#include "protocol/transfer_encoding.h"

namespace holdfast {

inline constexpr size_t kLookaheadBytes = 16 << 10;
// Multiparts inside each other; what is deeper is not looked into.
inline constexpr size_t kMaxMimeDepth = 20;
// RFC 2046 section 5.1.1 allows 70.
inline constexpr size_t kMaxMimeBoundary = 200;

class MimeDowngrade {
 public:
  struct Options {
    // What can't be converted is an obstacle; else it goes as it is.
    bool strict = true;
    // So are 8-bit octets in the headers of parts.
    bool strict_headers = false;
  };

  explicit MimeDowngrade(Options options) : options_(options) {}

  // `text` has LF line ends and is cut anywhere; so is what is appended to
  // `*out`.  False: there is an obstacle, and what was written so far must not
  // be used.
  [[nodiscard]] bool Append(absl::string_view text, std::string* out);
  [[nodiscard]] bool Finish(std::string* out);

 private:
  // What is done with the lines that come.
  enum class Mode {
    kHeader,
    kLookahead,  // of a leaf: held back
    kEncode,
    kPass,     // a part that must stay as it is
    kQuoted,   // is quoted-printable already
    kBase64,   // is base64 already
    kBetween,  // before, between and behind parts: nobody reads it
  };
  struct Multipart {
    std::string boundary;
    bool digest;
  };

  void OnText(absl::string_view piece, std::string* out);
  void OnBreak(std::string* out);
  void BeginLine(bool whole, std::string* out);
  bool TakeBoundary(std::string* out);
  void Write(absl::string_view piece, std::string* out);
  void WriteQuoted(absl::string_view piece, std::string* out);
  void WriteBreak(std::string* out);
  void Hold(absl::string_view text, std::string* out);
  void EndHeader(std::string* out);
  Mode ModeOfLeaf() const;
  void StartEncoding(std::string* out);
  void EndPart(bool last_break, std::string* out);

  const Options options_;
  bool failed_ = false;
  Mode mode_ = Mode::kHeader;
  std::vector<Multipart> open_;  // the innermost last
  MimePartHeader header_{true, false};

  // The present line.
  std::string head_;       // its beginning, while it may be a boundary
  bool in_line_ = false;   // head_ is done with
  bool as_it_is_ = false;  // the rest of it is a boundary's
  bool dropped_ = false;   // it was the empty line, which is written later
  size_t column_ = 0;      // kQuoted

  std::string held_;  // kLookahead
  std::unique_ptr<TransferEncoder> encoder_;
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_MIME_DOWNGRADE_H_
