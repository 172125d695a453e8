// The header of a message or of a MIME part on its way through, as far as the
// part's encoding depends on it.
#ifndef HOLDFAST_PROTOCOL_MIME_PART_HEADER_H_
#define HOLDFAST_PROTOCOL_MIME_PART_HEADER_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "protocol/content_type.h"

namespace holdfast {

// Of a Content-Type or Content-Transfer-Encoding field; the rest is not read.
inline constexpr size_t kMaxMimeField = 8192;

// A Content-Transfer-Encoding.
enum class MimeEncoding { k7Bit, k8Bit, kQuoted, kBase64, kOther };

// Lines come in pieces; all fields are written on but
// Content-Transfer-Encoding, which is kept for the end.
class MimePartHeader {
 public:
  // `root`: of a message; `in_digest`: of a part of multipart/digest.
  MimePartHeader(bool root, bool in_digest)
      : root_(root), in_digest_(in_digest) {}

  // A line begins with `head`, which holds the field's name; then comes all of
  // its text, `head` too.
  void StartLine(absl::string_view head);
  void Text(absl::string_view piece, std::string* out);
  void Break(std::string* out);

  // The header ends here, and the rest may be asked.
  void End();

  const ContentType& type() const { return type_; }
  MimeEncoding encoding() const { return encoding_; }
  // There was an octet above 127.
  bool eight_bit() const { return eight_bit_; }

  // How the part goes.
  enum class Change {
    kNone,  // as it came
    k7Bit,  // all of it is of 7 bits now, or was
    kQuoted,
    kBase64,
  };
  // The last fields and the empty line.  In a message whose body is changed
  // what makes it MIME is added (RFC 1428 section 3).
  void WriteEnd(Change change, std::string* out) const;
  // Content-Transfer-Encoding as it came.
  const std::string& kept() const { return kept_; }

 private:
  enum class Field { kOther, kType, kEncoding };

  void EndField();

  bool root_, in_digest_;
  Field field_ = Field::kOther;
  std::string value_;  // of field_
  std::string kept_;   // Content-Transfer-Encoding, the whole field
  ContentType type_;
  MimeEncoding encoding_ = MimeEncoding::k7Bit;
  bool has_type_ = false, has_encoding_ = false, has_version_ = false;
  bool eight_bit_ = false;
};

bool HasEightBit(absl::string_view text);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_MIME_PART_HEADER_H_
