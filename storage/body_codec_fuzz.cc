// A stored body of any bytes and any declaration expands to what it declares
// or to an error, in bounded memory.
#include <cstdint>
#include <cstdlib>

#include "storage/body_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  const absl::string_view all(reinterpret_cast<const char*>(data), size);
  if (size < 2) return 0;
  BodyInfo info;
  info.codec = BodyCodec(data[0] & 1);
  info.raw_bytes = uint64_t{data[1]} << (data[0] >> 4);
  info.stored_bytes = size - 2;
  const absl::string_view stored = all.substr(2);
  const size_t half = stored.size() / 2;
  info.chunks = 2;
  BodyDecompressor body(info);
  std::string out;
  for (;;) {
    const size_t before = out.size();
    auto state = body.Read(100, &out);
    if (out.size() - before > 100 || out.size() > info.raw_bytes + 1) abort();
    if (!state.ok() || *state == BodyDecompressor::kEnd) break;
    if (*state == BodyDecompressor::kNeedsChunk) {
      body.Feed(std::string(body.chunks_fed() == 0 ? stored.substr(0, half)
                                                   : stored.substr(half)));
    }
  }
  // And any bytes survive the way there and back.
  const SmallBody small = CompressBody(all.substr(0, kSmallBodyBytes));
  auto back = ExpandBody(small.info, small.stored);
  if (!back.ok() || *back != all.substr(0, kSmallBodyBytes)) abort();
  return 0;
}
