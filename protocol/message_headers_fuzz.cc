// The result does not depend on the cuts, the body is left alone, and
// completing addresses twice is completing them once.
#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "protocol/address_completion.h"
#include "protocol/message_headers.h"

namespace holdfast {
namespace {

std::string Rewrite(absl::string_view text, size_t step,
                    MessageHeaders::Verdict* verdict) {
  HeaderOptions options;
  options.domain = "mx.test";
  options.add_missing = true;
  options.now = absl::FromUnixSeconds(1795324300);
  options.zone = absl::UTCTimeZone();
  MessageHeaders headers(options);
  std::string out;
  while (!text.empty()) {
    headers.Write(text.substr(0, step), &out);
    text.remove_prefix(std::min(step, text.size()));
  }
  headers.Finish(&out);
  *verdict = headers.verdict();
  return out;
}

std::string Complete(absl::string_view value) {
  std::string out;
  CompleteAddresses(value, "mx.test", &out);
  return out;
}

}  // namespace
}  // namespace holdfast

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  MessageHeaders::Verdict whole_verdict;
  MessageHeaders::Verdict verdict;
  const std::string whole = Rewrite(text, size + 1, &whole_verdict);
  for (const size_t step : {1, 5}) {
    if (Rewrite(text, step, &verdict) != whole) __builtin_trap();
    if (verdict != whole_verdict) __builtin_trap();
  }
  const size_t body = text.find("\n\n");
  if (body != text.npos && !absl::EndsWith(whole, text.substr(body + 1)))
    __builtin_trap();
  const std::string once = Complete(text);
  if (Complete(once) != once) __builtin_trap();
  std::string replaced, again;
  ReplaceAddresses(text, "j@mx.test", &replaced);
  ReplaceAddresses(replaced, "j@mx.test", &again);
  if (again != replaced) __builtin_trap();
  return 0;
}
