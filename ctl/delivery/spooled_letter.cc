#include "ctl/delivery/spooled_letter.h"

#include "ctl/delivery/helper_exit.h"

namespace holdfast {

absl::Status SpoolLetter(int input, const std::string& from,
                         MboxEncoder::Quote quote, SpoolFile* spool) {
  MboxEncoder encoder(from, CTime(), quote);
  std::string encoded;
  const absl::Status read = ReadAll(input, [&](absl::string_view bytes) {
    encoded.clear();
    encoder.Write(bytes, &encoded);
    return spool->Append(encoded);
  });
  if (!read.ok()) return read;
  encoded.clear();
  encoder.Finish(&encoded);
  return spool->Append(encoded);
}

}  // namespace holdfast
