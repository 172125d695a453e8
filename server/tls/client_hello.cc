#include "server/tls/client_hello.h"

#include <openssl/bytestring.h>

#include <algorithm>

#include "absl/strings/ascii.h"

namespace holdfast {
namespace {

std::vector<uint16_t> Numbers(CBS list) {
  std::vector<uint16_t> out;
  uint16_t one;
  while (CBS_get_u16(&list, &one)) out.push_back(one);
  return out;
}

bool FindExtension(const SSL_CLIENT_HELLO& hello, uint16_t type, CBS* body) {
  const uint8_t* data = nullptr;
  size_t length = 0;
  if (!SSL_early_callback_ctx_extension_get(&hello, type, &data, &length))
    return false;
  CBS_init(body, data, length);
  return true;
}

// RFC 6066 section 3.
std::string ServerName(const SSL_CLIENT_HELLO& hello) {
  CBS body, list, name;
  uint8_t type = 0;
  if (!FindExtension(hello, TLSEXT_TYPE_server_name, &body) ||
      !CBS_get_u16_length_prefixed(&body, &list) || !CBS_get_u8(&list, &type) ||
      type != TLSEXT_NAMETYPE_host_name ||
      !CBS_get_u16_length_prefixed(&list, &name))
    return "";
  return absl::AsciiStrToLower(absl::string_view(
      reinterpret_cast<const char*>(CBS_data(&name)), CBS_len(&name)));
}

}  // namespace

ClientHello::ClientHello(const SSL_CLIENT_HELLO& hello)
    : server_name(ServerName(hello)) {
  CBS body, list;
  if (FindExtension(hello, TLSEXT_TYPE_signature_algorithms, &body) &&
      CBS_get_u16_length_prefixed(&body, &list))
    algorithms = Numbers(list);
  CBS_init(&list, hello.cipher_suites, hello.cipher_suites_len);
  ciphers = Numbers(list);
  if (FindExtension(hello, TLSEXT_TYPE_supported_versions, &body) &&
      CBS_get_u8_length_prefixed(&body, &list)) {
    const std::vector<uint16_t> versions = Numbers(list);
    tls13 = std::find(versions.begin(), versions.end(), TLS1_3_VERSION) !=
            versions.end();
  }
}

}  // namespace holdfast
