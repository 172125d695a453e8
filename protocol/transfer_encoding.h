// Content-Transfer-Encoding: text of 8 bits as lines of 7 (RFC 2045 sections
// 6.7 and 6.8).  What is encoded comes line by line, a line in pieces cut
// anywhere; lines of the output end with LF.
#ifndef HOLDFAST_PROTOCOL_TRANSFER_ENCODING_H_
#define HOLDFAST_PROTOCOL_TRANSFER_ENCODING_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

// Octets of an encoded line, LF not counted.
inline constexpr size_t kMaxEncodedLine = 76;

// "=XX".
std::string QuotedOctet(char c);

// One encoding under way.
class TransferEncoder {
 public:
  virtual ~TransferEncoder() = default;
  // A piece of a line, without LF.  A CR before a line end belongs to it.
  virtual void Text(absl::string_view text, std::string* out) = 0;
  // The line has ended.
  virtual void Break(std::string* out) = 0;
  // The part has ended.  `last_break`: its last Break() was of the part; else
  // it belongs to the boundary behind it.
  virtual void Finish(bool last_break, std::string* out) = 0;
};

class QuotedPrintableEncoder : public TransferEncoder {
 public:
  void Text(absl::string_view text, std::string* out) override;
  void Break(std::string* out) override;
  void Finish(bool last_break, std::string* out) override;

 private:
  void Put(absl::string_view token, std::string* out);
  void PutHeld(bool at_end, std::string* out);

  size_t column_ = 0;
  char held_ = 0;  // space, tab or CR whose form depends on what follows
};

// Line ends are encoded as CRLF.
class Base64Encoder : public TransferEncoder {
 public:
  void Text(absl::string_view text, std::string* out) override;
  void Break(std::string* out) override;
  void Finish(bool last_break, std::string* out) override;

 private:
  void Put(absl::string_view octets, std::string* out);
  void PutHeld(std::string* out);

  std::string group_;  // less than a whole line of it
  bool held_cr_ = false;
  bool held_break_ = false;
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_TRANSFER_ENCODING_H_
