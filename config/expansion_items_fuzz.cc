// Any text as the items of an alias.
#include <cstdint>
#include <cstdlib>

#include "config/expansion_items.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto items = holdfast::ParseExpansionItems(
      absl::string_view(reinterpret_cast<const char*>(data), size));
  if (!items.ok()) return 0;
  for (const holdfast::ExpansionItem& item : *items) {
    if (item.text.empty()) std::abort();
  }
  return 0;
}
