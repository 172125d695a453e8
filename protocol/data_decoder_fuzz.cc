// Whole or byte by byte, the result is the same; a dot-stuffed text ends only
// behind CRLF "." CRLF.
#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/data_decoder.h"

namespace holdfast {
namespace {

struct Decoded {
  std::string text;
  std::string rest;
  bool done = false;
  bool bare_newline = false;
  bool long_line = false;
  uint64_t size = 0;
  friend bool operator==(const Decoded&, const Decoded&) = default;
};

Decoded Decode(absl::string_view wire, size_t step,
               DataDecoder::Framing framing, bool normalise) {
  DataDecoder decoder(framing, normalise);
  Decoded decoded;
  while (!wire.empty() && !decoded.done) {
    absl::string_view piece = wire.substr(0, step);
    wire.remove_prefix(piece.size());
    decoded.done =
        decoder.Decode(&piece, &decoded.text) == DataDecoder::Result::kDone;
    absl::StrAppend(&decoded.rest, piece);
  }
  absl::StrAppend(&decoded.rest, wire);
  if (framing != DataDecoder::Framing::kDots) decoder.Finish(&decoded.text);
  decoded.bare_newline = decoder.has_bare_newline();
  decoded.long_line = decoder.has_long_line();
  decoded.size = decoder.size();
  return decoded;
}

}  // namespace
}  // namespace holdfast

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using holdfast::DataDecoder;
  using holdfast::Decode;
  const absl::string_view wire(reinterpret_cast<const char*>(data), size);
  using Framing = DataDecoder::Framing;
  for (const auto framing :
       {Framing::kDots, Framing::kCounted, Framing::kBinary}) {
    for (const bool normalise : {false, true}) {
      const auto whole = Decode(wire, size + 1, framing, normalise);
      if (whole != Decode(wire, 1, framing, normalise)) __builtin_trap();
      if (whole != Decode(wire, 3, framing, normalise)) __builtin_trap();
      if (whole.text.size() > size + 1) __builtin_trap();
      if (framing != Framing::kBinary && !whole.bare_newline &&
          whole.text.find_first_of(std::string("\r\0", 2)) != std::string::npos)
        __builtin_trap();
      if (!whole.done) continue;
      const std::string end =
          absl::StrCat("\r\n", wire.substr(0, wire.size() - whole.rest.size()));
      if (!absl::EndsWith(end, "\r\n.\r\n")) __builtin_trap();
    }
  }
  return 0;
}
