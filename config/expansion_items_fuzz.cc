// Any text as the items of an alias, and as a ~/.forward.
#include <cstdint>
#include <cstdlib>

#include "config/expansion_items.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto& items :
       {holdfast::ParseExpansionItems(text), holdfast::ParseForward(text)}) {
    if (!items.ok()) continue;
    for (const holdfast::ExpansionItem& item : *items) {
      if (item.text.empty()) std::abort();
    }
  }
  return 0;
}
