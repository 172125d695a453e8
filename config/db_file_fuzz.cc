// Any bytes as a db file, and any of its entries asked for.
#include <cstdint>
#include <cstdlib>

#include "config/table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto contents = holdfast::ParseTableBytes("db", "/t.db", bytes);
  if (!contents.ok()) return 0;
  size_t total = 0;
  for (size_t i = 0; i < (*contents)->size(); ++i) {
    const auto [key, value] = (*contents)->at(i);
    total += key.size() + value.size();
    if ((*contents)->Find(holdfast::TableService::kAlias, key, '+') != i)
      std::abort();
  }
  if (total > size) std::abort();  // no byte is read twice
  return 0;
}
