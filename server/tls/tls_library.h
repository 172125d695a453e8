// BoringSSL, and nothing else: OpenSSL has the same names, and its headers lie
// on many machines.
#ifndef HOLDFAST_SERVER_TLS_TLS_LIBRARY_H_
#define HOLDFAST_SERVER_TLS_TLS_LIBRARY_H_

#include <openssl/base.h>
#include <openssl/evp.h>

#include <string>

#include "absl/strings/string_view.h"

#ifndef OPENSSL_IS_BORINGSSL
#error "these are not BoringSSL's headers"
#endif

namespace holdfast {

// Why the last call failed, as one printable line; empties the thread's error
// queue.
std::string TlsLibraryError();

// What names a key in SignRequest: the SHA-256 of its SubjectPublicKeyInfo.
// The same for a private key and for its certificate.  Empty: out of memory.
std::string KeyIdOf(const EVP_PKEY* key);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TLS_TLS_LIBRARY_H_
