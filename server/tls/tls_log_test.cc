#include "server/tls/tls_log.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

TEST(TlsLogTest, TheLines) {
  TlsInfo info;
  info.version = "TLSv1.3";
  info.cipher = "TLS_AES_256_GCM_SHA384";
  info.bits = 256;
  EXPECT_EQ(TlsLogText("mta", info),
            "mta tls ciphers=TLSv1.3:TLS_AES_256_GCM_SHA384:256");
  EXPECT_EQ(TlsLogText("smtp", info),
            "smtp tls ciphers=TLSv1.3:TLS_AES_256_GCM_SHA384:256");
  EXPECT_EQ(CertCheckLogText("mta", info),
            "smtp cert-check result=\"no certificate presented\"");
  info.peer_certificate = true;
  info.peer_fingerprint = "SHA256:00ff";
  info.peer_error = "hostname mismatch";
  EXPECT_EQ(CertCheckLogText("mta", info),
            "mta cert-check result=\"unverified\" fingerprint=\"SHA256:00ff\"");
  EXPECT_EQ(FailedCertCheckLogText(info),
            "mta cert-check result=\"invalid\" fingerprint=\"SHA256:00ff\" "
            "reason=\"hostname mismatch\"");
  EXPECT_EQ(CertCheckLogText("smtp", info),
            "smtp cert-check result=\"unchecked\" fingerprint=\"SHA256:00ff\"");
  info.peer_verified = true;
  EXPECT_EQ(CertCheckLogText("mta", info),
            "mta cert-check result=\"valid\" fingerprint=\"SHA256:00ff\"");
  EXPECT_EQ(CertCheckLogText("smtp", info),
            "smtp cert-check result=\"verified\" fingerprint=\"SHA256:00ff\"");
}

}  // namespace
}  // namespace holdfast
