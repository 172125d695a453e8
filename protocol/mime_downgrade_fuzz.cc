// Whatever the message is: what comes out is the same however the text was cut,
// and where it counts as converted it is of 7 bits.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "protocol/mime_downgrade.h"

namespace {

bool Convert(absl::string_view text, size_t piece, bool strict,
             std::string* out) {
  holdfast::MimeDowngrade downgrade({strict, strict});
  for (; !text.empty(); text.remove_prefix(std::min(piece, text.size())))
    if (!downgrade.Append(text.substr(0, piece), out)) return false;
  return downgrade.Finish(out);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t piece = size == 0 ? 1 : 1 + data[size - 1];
  for (const bool strict : {true, false}) {
    std::string whole, cut;
    const bool done = Convert(text, size + 1, strict, &whole);
    if (Convert(text, piece, strict, &cut) != done) abort();
    if (!done) continue;
    if (whole != cut) abort();
    if (strict && holdfast::HasEightBit(whole)) abort();
  }
  return 0;
}
