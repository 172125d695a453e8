// Any text as a table file; then every key of it must be found.
#include <cstdint>
#include <cstdlib>

#include "config/table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using holdfast::TableService;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto table = holdfast::ParseTableFile("t", "/t", text);
  if (!table.ok()) return 0;
  for (const auto& [key, value] : (*table)->entries()) {
    if (key.size() > 1023) continue;
    const auto found = (*table)->Lookup(TableService::kString, key);
    if (!found.ok() || *found != value) std::abort();
    (void)(*table)->Check(TableService::kRegex, key);
    (void)(*table)->Check(TableService::kDomain, key);
    (void)(*table)->Check(TableService::kMailaddr, key);
  }
  return 0;
}
