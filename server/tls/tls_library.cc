#include "server/tls/tls_library.h"

#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/mem.h>

#include "absl/strings/ascii.h"
#include "storage/crypto/key_derivation.h"

namespace holdfast {

std::string TlsLibraryError() {
  const uint32_t error = ERR_peek_last_error();
  ERR_clear_error();
  const char* const reason = ERR_reason_error_string(error);
  if (error == 0 || reason == nullptr) return "no reason given";
  std::string text = absl::AsciiStrToLower(reason);
  for (char& c : text) {
    if (c == '_') c = ' ';
  }
  return text;
}

std::string KeyIdOf(const EVP_PKEY* key) {
  bssl::ScopedCBB cbb;
  uint8_t* der = nullptr;
  size_t length = 0;
  if (!CBB_init(cbb.get(), 512) || !EVP_marshal_public_key(cbb.get(), key) ||
      !CBB_finish(cbb.get(), &der, &length))
    return "";
  bssl::UniquePtr<uint8_t> owned(der);
  return Sha256(absl::string_view(reinterpret_cast<const char*>(der), length));
}

}  // namespace holdfast
