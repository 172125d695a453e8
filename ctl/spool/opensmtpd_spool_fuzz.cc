// A file of OpenSMTPD's queue may hold anything: as an envelope, compressed,
// encrypted.
#include <cstdint>
#include <cstdlib>

#include "ctl/spool/byte_source.h"
#include "ctl/spool/opensmtpd_spool.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto read = ParseOpensmtpdEnvelope(text);
  if (read.ok() &&
      (read->envelope.helo.empty() || read->envelope.retry > 1'000'000))
    abort();
  GunzipSource packed(std::make_unique<TextSource>(text));
  const auto expanded = ReadWhole(&packed, 1 << 20);
  if (expanded.ok() && expanded->size() > 1 << 20) abort();
  // Nobody who has not got the key makes a file that opens.
  UnsealedSource sealed(std::make_unique<TextSource>(text),
                        "0123456789abcdef0123456789abcdef");
  if (ReadWhole(&sealed, 1 << 20).ok()) abort();
  return 0;
}
