#include "config/hints.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"

namespace holdfast {

std::string Printable(absl::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto octet = static_cast<unsigned char>(c);
    if (absl::ascii_isprint(octet)) {
      out += c;
    } else {
      absl::StrAppendFormat(&out, "\\x%02x", octet);
    }
  }
  return out;
}

}  // namespace holdfast
