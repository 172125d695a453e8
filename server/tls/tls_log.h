// What log lines say of TLS (reference part 1, section 7; part 2, section 8.3);
// before it stands the session's id.
#ifndef HOLDFAST_SERVER_TLS_TLS_LOG_H_
#define HOLDFAST_SERVER_TLS_TLS_LOG_H_

#include <string>

#include "absl/strings/string_view.h"
#include "server/tls/tls_stream.h"

namespace holdfast {

// "TLSv1.3:TLS_AES_256_GCM_SHA384:256"
std::string TlsCiphersText(const TlsInfo& info);

// "mta tls ciphers=TLSv1.3:TLS_AES_256_GCM_SHA384:256"; `side`: "mta" as
// client, "smtp" as server.
std::string TlsLogText(absl::string_view side, const TlsInfo& info);

// As client `mta cert-check result="valid" fingerprint="SHA256:..."`, or
// "unverified"; as server `smtp cert-check`, "verified" or "unchecked". Without
// a certificate always `smtp cert-check result="no certificate presented"`: the
// reference has the word `smtp` on both sides.
std::string CertCheckLogText(absl::string_view side, const TlsInfo& info);

// Ours, as client, for a handshake that failed with kUnauthenticated: `mta
// cert-check result="invalid" fingerprint="SHA256:..." reason="hostname
// mismatch"`.
std::string FailedCertCheckLogText(const TlsInfo& info);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TLS_TLS_LOG_H_
