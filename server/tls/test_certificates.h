// Certificates of a test's own, made when it runs.
#ifndef HOLDFAST_SERVER_TLS_TEST_CERTIFICATES_H_
#define HOLDFAST_SERVER_TLS_TEST_CERTIFICATES_H_

#include <openssl/x509.h>

#include <string>
#include <vector>

#include "server/tls/tls_library.h"

namespace holdfast {

// In PEM.
struct TestCertificate {
  std::string certificate;
  std::string key;
};

enum class TestKey { kEcdsa, kRsa, kEd25519 };

class TestAuthority {
 public:
  TestAuthority();
  // For these DNS names; the first is the common name, too.  Without
  // `with_alternatives` it is that alone.
  TestCertificate Issue(const std::vector<std::string>& names,
                        TestKey kind = TestKey::kEcdsa,
                        bool with_alternatives = true);
  const std::string& certificate() const { return pem_; }  // its own

 private:
  long serial_ = 1;
  bssl::UniquePtr<EVP_PKEY> key_;
  bssl::UniquePtr<X509> x509_;
  std::string pem_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TLS_TEST_CERTIFICATES_H_
