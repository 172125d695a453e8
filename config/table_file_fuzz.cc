// Any text as a table file; then every key of it must be found.
#include <cstdint>
#include <cstdlib>

#include "config/table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using holdfast::TableService;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto contents = holdfast::ParseTableBytes("static", "/t", text);
  if (!contents.ok()) return 0;
  holdfast::Table table("t", holdfast::Table::Kind::kMap, "static", "/t");
  table.Replace(*contents);
  for (const auto& [key, value] : table.entries()) {
    if (key.size() > 1023) continue;
    const auto found = table.Lookup(TableService::kString, key);
    if (!found.ok() || !found->has_value() || **found != value) std::abort();
    (void)table.Check(TableService::kRegex, key);
    if (!table.Check(TableService::kDomain, key).value_or(key.empty()))
      std::abort();
    (void)table.Check(TableService::kMailaddr, key);
    if (!table.Check(TableService::kNetaddr, key).value_or(false)) std::abort();
  }
  return 0;
}
