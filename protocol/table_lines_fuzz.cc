#include <cstdint>
#include <cstdlib>

#include "protocol/table_lines.h"

// What can be read can be said again, and then means the same.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view line(reinterpret_cast<const char*>(data), size);
  holdfast::ParseTableConfig(line);
  if (holdfast::ParseTableRegistration(line).ok() && size > 64) abort();
  if (const auto reply = holdfast::ParseTableReply(line); reply.ok()) {
    const std::string said = holdfast::TableReplyLine(*reply);
    const auto again = holdfast::ParseTableReply(
        absl::string_view(said).substr(0, said.size() - 1));
    if (!again.ok() || again->result != reply->result ||
        again->id != reply->id || again->op != reply->op)
      abort();
  }
  if (const auto request = holdfast::ParseTableRequest(line); request.ok()) {
    const auto said =
        holdfast::TableRequestLine(*request, absl::FromUnixSeconds(1));
    if (!said.ok()) {
      // The time is written anew and may be longer.
      if (size + 64 < holdfast::kMaxTableLine) abort();
      return 0;
    }
    const auto again = holdfast::ParseTableRequest(
        absl::string_view(*said).substr(0, said->size() - 1));
    if (!again.ok() || again->key != request->key || again->id != request->id)
      abort();
  }
  return 0;
}
