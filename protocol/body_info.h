// What everybody who handles a stored body must know about it.
#ifndef HOLDFAST_PROTOCOL_BODY_INFO_H_
#define HOLDFAST_PROTOCOL_BODY_INFO_H_

#include <cstdint>

namespace holdfast {

// How the bytes of a stored body are to be read.
enum class BodyCodec : uint8_t {
  kRaw = 0,   // as it is: it would not shrink
  kZstd = 1,  // one zstd frame, cut into chunks
};

// A body is what reports and deliveries see: Received and client headers, an
// empty line, the text; lines end with LF (reference part 1, section 4.9).
// Behind the header of a BINARYMIME message (kFlagBinaryMime) stands what the
// client sent, octet by octet.
struct BodyInfo {
  BodyCodec codec = BodyCodec::kRaw;
  uint64_t raw_bytes = 0;     // before compression; the limit when expanding
  uint64_t stored_bytes = 0;  // sum of the chunks
  uint32_t chunks = 0;        // pieces it is stored in; at least 1
  uint64_t digest = 0;        // XXH3, 64 bits, of the raw bytes
  uint32_t lines = 0;         // raw LFs, so that SIZE on the wire is known
  bool eight_bit = false;     // some octet is above 127
  bool header_eight_bit = false;  // one of the header is

  template <class Archive>
  void Fields(Archive& a) {
    a(codec, raw_bytes, stored_bytes, chunks, digest, lines, eight_bit);
    if (a.More())
      a(header_eight_bit);
    else
      header_eight_bit = eight_bit;  // not known
  }
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_BODY_INFO_H_
