// Makes storage/envelope_dictionary.inc, on stdout.  Only for a new version of
// the dictionary: records packed with the old one need the old bytes for ever.
#include <zdict.h>

#include <cstdio>
#include <string>
#include <vector>

#include "protocol/wire.h"
#include "storage/sample_envelope.h"

int main() {
  constexpr size_t kDictionaryBytes = 6 << 10;
  constexpr uint32_t kSamples = 20000;
  std::string samples;
  std::vector<size_t> sizes;
  for (uint32_t seed = 1; seed <= kSamples; ++seed) {
    const std::string one =
        holdfast::Encode(holdfast::SampleEnvelope(seed * 7919));
    samples += one;
    sizes.push_back(one.size());
  }
  std::string dictionary(kDictionaryBytes, '\0');
  const size_t size =
      ZDICT_trainFromBuffer(dictionary.data(), dictionary.size(),
                            samples.data(), sizes.data(), kSamples);
  if (ZDICT_isError(size)) {
    std::fprintf(stderr, "%s\n", ZDICT_getErrorName(size));
    return 1;
  }
  for (size_t i = 0; i < size; ++i) {
    std::printf("%d,%c", static_cast<unsigned char>(dictionary[i]),
                i % 16 == 15 ? '\n' : ' ');
  }
  std::printf("\n");
  return 0;
}
