// The TLS of relay actions, out of the configuration and the files that
// `parent` has read for it.
#ifndef HOLDFAST_SERVER_TLS_RELAY_TLS_H_
#define HOLDFAST_SERVER_TLS_RELAY_TLS_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/config.h"
#include "server/door/parent_messages.h"
#include "server/tls/tls_stream.h"

namespace holdfast {

// A context for each policy: made when first asked for, then kept.  Two actions
// share one, and so their sessions, if nothing in their policies differs.
class RelayTls {
 public:
  // `tls_files`: Start::tls_files.  All three outlive this; `signer` may be
  // null if nothing is ever signed.
  RelayTls(const Config& config, const std::vector<Start::File>& tls_files,
           Signer* signer)
      : config_(config), files_(tls_files), signer_(signer) {}

  // `verify`: the certificate must be valid (option `tls`, `smtps://`,
  // `smtp+tls://`, without `no-verify`).  Errors begin with the action's place
  // in the configuration.
  absl::StatusOr<TlsClientContext*> For(const Action& action, bool verify);

 private:
  const Config& config_;
  const std::vector<Start::File>& files_;
  Signer* const signer_;
  std::map<std::string, std::unique_ptr<TlsClientContext>> contexts_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TLS_RELAY_TLS_H_
