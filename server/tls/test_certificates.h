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

// What a certificate says.
struct TestCertificateSpec {
  std::vector<std::string> names;  // DNS; the first is the common name, too
  std::vector<std::string> addresses = {};
  TestKey kind = TestKey::kEcdsa;
  bool with_alternatives = true;  // else the common name alone
  int from_day = -1, to_day = 1;  // from now
  bool self_signed = false;
};

class TestAuthority {
 public:
  explicit TestAuthority(const std::string& name = "Test CA");
  // One that `issuer` has signed.
  TestAuthority(const std::string& name, TestAuthority* issuer);

  // For these DNS names; the first is the common name, too.  Without
  // `with_alternatives` it is that alone.
  TestCertificate Issue(const std::vector<std::string>& names,
                        TestKey kind = TestKey::kEcdsa,
                        bool with_alternatives = true);
  TestCertificate Issue(const TestCertificateSpec& spec);
  const std::string& certificate() const { return pem_; }  // its own

 private:
  void Begin(const std::string& name, TestAuthority* issuer);

  long serial_ = 1;
  bssl::UniquePtr<EVP_PKEY> key_;
  bssl::UniquePtr<X509> x509_;
  std::string pem_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TLS_TEST_CERTIFICATES_H_
