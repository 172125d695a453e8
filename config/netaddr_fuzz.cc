// Any two texts as an entry and an address.
#include <cstdint>
#include <cstdlib>

#include "config/table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t half = text.find('\n');
  const absl::string_view entry = text.substr(0, half);
  const absl::string_view address =
      half == absl::string_view::npos ? "192.0.2.1" : text.substr(half + 1);
  (void)holdfast::NetaddrMatches(entry, address);
  if (!holdfast::NetaddrMatches(entry, entry)) std::abort();
  return 0;
}
