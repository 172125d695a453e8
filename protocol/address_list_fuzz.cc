#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "protocol/address_list.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto list =
      holdfast::ParseAddressList({reinterpret_cast<const char*>(data), size});
  if (!list.ok()) return 0;
  for (const std::string& address : *list) {
    // What goes into SMTP commands can neither end one nor be empty.
    if (address.empty() || address.size() > holdfast::kMaxListedAddress ||
        address.find_first_of("\r\n") != std::string::npos)
      std::abort();
    // What was parsed once parses to itself.
    auto again = holdfast::ParseAddressList("<" + address + ">");
    if (!again.ok() || again->size() != 1 || (*again)[0] != address)
      std::abort();
  }
  return 0;
}
