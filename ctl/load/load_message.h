// The messages that smtp-load sends: numbered, with bodies that are half words
// and half base64, so that neither compression nor deduplication gets a
// present, and with a checksum by which anyone can see damage.
//
// Header fields of ours:
//   X-Load-Id: RUN-NUMBER
//   X-Load-Body: CRC-32 of the body with LF line ends, 8 hexadecimal digits
#ifndef HOLDFAST_CTL_LOAD_LOAD_MESSAGE_H_
#define HOLDFAST_CTL_LOAD_LOAD_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace holdfast {

// CRC-32 as zlib and IEEE 802.3 have it; continues from `crc` (0 to begin).
uint32_t Crc32(uint32_t crc, absl::string_view bytes);

// 8 lowercase hexadecimal digits.
std::string FormatCrc32(uint32_t crc);

// One body in the two forms that SMTP wants.
struct LoadBody {
  std::string plain;    // CRLF line ends, for BDAT
  std::string stuffed;  // the same with leading dots doubled, for DATA
  uint32_t crc = 0;     // of the form with LF line ends
};

// `count` different bodies of about `size` bytes, the same for the same `seed`.
// One line in 16 begins with a dot.
std::vector<LoadBody> MakeLoadBodies(size_t count, size_t size, uint64_t seed);

// The header of message `id`, with the empty line that ends it.
std::string MakeLoadHeader(const std::string& id, const std::string& sender,
                           const std::string& recipient,
                           const std::string& date, const LoadBody& body);

// Reads a message line by line, in whatever form it arrives, and says what its
// header fields and its body's checksum are.
class LoadMessageReader {
 public:
  // One line without its line end and without dot stuffing.
  void Line(absl::string_view line);

  const std::string& id() const { return id_; }  // empty: none
  // The id of the first Received field, that of the last server; or empty.
  const std::string& msgid() const { return msgid_; }
  // The address of the first Delivered-To field; or empty.
  const std::string& delivered_to() const { return delivered_to_; }
  bool has_checksum() const { return !checksum_.empty(); }
  bool intact() const { return checksum_ == FormatCrc32(crc_); }

 private:
  void HeaderLine(absl::string_view line);

  bool in_body_ = false;
  bool in_received_ = false;
  int received_ = 0;
  std::string id_;
  std::string msgid_;
  std::string delivered_to_;
  std::string checksum_;
  uint32_t crc_ = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_LOAD_LOAD_MESSAGE_H_
