#include "server/tls/tls_log.h"

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

std::string ResultText(absl::string_view side, absl::string_view result,
                       const TlsInfo& info) {
  return absl::StrCat(side, " cert-check result=\"", result,
                      "\" fingerprint=\"", info.peer_fingerprint, "\"");
}

}  // namespace

std::string TlsCiphersText(const TlsInfo& info) {
  return absl::StrCat(info.version, ":", info.cipher, ":", info.bits);
}

std::string TlsLogText(absl::string_view side, const TlsInfo& info) {
  return absl::StrCat(side, " tls ciphers=", TlsCiphersText(info));
}

std::string CertCheckLogText(absl::string_view side, const TlsInfo& info) {
  if (!info.peer_certificate)
    return "smtp cert-check result=\"no certificate presented\"";
  if (side == "smtp") {
    return ResultText(side, info.peer_verified ? "verified" : "unchecked",
                      info);
  }
  return ResultText(side, info.peer_verified ? "valid" : "unverified", info);
}

std::string FailedCertCheckLogText(const TlsInfo& info) {
  return absl::StrCat(ResultText("mta", "invalid", info), " reason=\"",
                      info.peer_error, "\"");
}

}  // namespace holdfast
