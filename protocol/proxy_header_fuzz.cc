// However the bytes are cut, the same header, and never more than its length.
#include <algorithm>
#include <cstdint>
#include <string>

#include "protocol/proxy_header.h"

namespace {

using holdfast::ProxyHeader;
using holdfast::ProxyVersion;

std::string Run(ProxyVersion version, absl::string_view bytes, size_t piece) {
  ProxyHeader header(version);
  size_t used = 0;
  ProxyHeader::State state = ProxyHeader::State::kIncomplete;
  while (used < bytes.size() && state == ProxyHeader::State::kIncomplete) {
    absl::string_view part = bytes.substr(used, piece);
    const size_t before = part.size();
    state = header.Take(&part);
    used += before - part.size();
    if (state == ProxyHeader::State::kIncomplete && !part.empty())
      __builtin_trap();
  }
  if (used > holdfast::kProxyV2Fixed + holdfast::kMaxProxyV2Rest)
    __builtin_trap();
  if (state == ProxyHeader::State::kError) return "error " + header.error();
  return std::to_string(static_cast<int>(state)) + " " + std::to_string(used) +
         (header.source() ? header.source()->ToString() : "-");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const size_t piece = 1 + data[0] % 32;
  const absl::string_view bytes(reinterpret_cast<const char*>(data) + 1,
                                size - 1);
  for (const ProxyVersion version : {ProxyVersion::kV1, ProxyVersion::kV2}) {
    if (Run(version, bytes, piece) != Run(version, bytes, bytes.size() + 1))
      __builtin_trap();
  }
  return 0;
}
