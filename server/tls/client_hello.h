// What a client says first, as far as the choice of a certificate goes.
#ifndef HOLDFAST_SERVER_TLS_CLIENT_HELLO_H_
#define HOLDFAST_SERVER_TLS_CLIENT_HELLO_H_

#include <openssl/ssl.h>

#include <cstdint>
#include <string>
#include <vector>

#include "server/tls/tls_library.h"

namespace holdfast {

// Empty lists: not said, or malformed (the library refuses the latter).
struct ClientHello {
  explicit ClientHello(const SSL_CLIENT_HELLO& hello);

  std::string server_name;           // SNI, lower case; empty: none
  std::vector<uint16_t> algorithms;  // signature schemes
  std::vector<uint16_t> ciphers;
  bool tls13 = false;  // offered
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TLS_CLIENT_HELLO_H_
