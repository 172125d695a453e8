#include <cstddef>
#include <cstdint>

#include "ctl/spf/spf_record.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string joined = holdfast::JoinTxtStrings(text);
  if (joined.size() > size) __builtin_trap();
  for (const absl::string_view record : {text, absl::string_view(joined)})
    for (const holdfast::SpfTerm& term :
         holdfast::ParseSpfRecord(record, "example.org"))
      if (term.name.empty() || term.prefix4.size() > 2) __builtin_trap();
  return 0;
}
