// Any bytes end in a message or an error; what was understood can be asked for
// again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "protocol/dns_message.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  const absl::StatusOr<DnsMessage> m = ParseDnsMessage(
      absl::string_view(reinterpret_cast<const char*>(data), size));
  if (!m.ok()) return 0;
  if (m->answers.size() > kMaxDnsRecords) abort();
  for (const DnsRecord& r : m->answers) {
    const absl::StatusOr<std::string> q =
        EncodeDnsQuestion(m->id, r.target, DnsType::kA, 512);
    if (!q.ok()) continue;  // it held bytes that no host name has
    const absl::StatusOr<DnsMessage> again = ParseDnsMessage(*q);
    if (!again.ok() || again->question != r.target) abort();
  }
  return 0;
}
