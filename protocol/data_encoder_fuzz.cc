// Whatever a body holds: on the wire CR and LF come in pairs only, and the one
// line that is a lone dot is the last.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "protocol/data_encoder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  holdfast::DataEncoder encoder;
  std::string out;
  const size_t cut = size == 0 ? 0 : data[0] % size;
  encoder.Append(text.substr(0, cut), &out);
  encoder.Append(text.substr(cut), &out);
  encoder.Finish(&out);
  std::string line;
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i] == '\n') abort();
    if (out[i] != '\r') {
      line.push_back(out[i]);
      continue;
    }
    if (i + 1 == out.size() || out[++i] != '\n') abort();
    if ((line == ".") != (i + 1 == out.size())) abort();
    line.clear();
  }
  if (!line.empty()) abort();
  return 0;
}
