#include "protocol/idna.h"

#include <idn2.h>

#include "absl/strings/str_cat.h"
#include "protocol/mail_address.h"

namespace holdfast {

bool IsAscii(absl::string_view text) {
  for (const char c : text)
    if (static_cast<unsigned char>(c) > 127) return false;
  return true;
}

absl::StatusOr<std::string> DomainToAscii(absl::string_view domain) {
  if (IsAscii(domain)) return std::string(domain);
  if (domain.find('\0') != absl::string_view::npos)
    return absl::InvalidArgumentError("malformed domain");
  char* ascii = nullptr;
  const int error = idn2_to_ascii_8z(std::string(domain).c_str(), &ascii,
                                     IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
  if (error != IDN2_OK) return absl::InvalidArgumentError(idn2_strerror(error));
  std::string result(ascii);
  idn2_free(ascii);
  return result;
}

absl::StatusOr<std::string> PathToAscii(absl::string_view path) {
  if (IsAscii(path)) return std::string(path);
  const MailAddress address = SplitAddress(path);
  if (!IsAscii(address.user))
    return absl::InvalidArgumentError("local part is not ASCII");
  absl::StatusOr<std::string> domain = DomainToAscii(address.domain);
  if (!domain.ok()) return domain;
  return absl::StrCat(address.user, "@", *domain);
}

}  // namespace holdfast
