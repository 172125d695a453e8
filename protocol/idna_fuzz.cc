#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "protocol/idna.h"

using holdfast::DomainToAscii;
using holdfast::IsAscii;

// Whatever comes in: no result, or one in ASCII that is its own result.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view domain(reinterpret_cast<const char*>(data), size);
  const auto ascii = DomainToAscii(domain);
  if (!ascii.ok()) return 0;
  if (!IsAscii(*ascii) || DomainToAscii(*ascii).value() != *ascii) std::abort();
  return 0;
}
