// The TLS of a listener, out of the configuration and the files that `parent`
// has read for it.
#ifndef HOLDFAST_SERVER_TLS_LISTENER_TLS_H_
#define HOLDFAST_SERVER_TLS_LISTENER_TLS_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "config/config.h"
#include "server/door/parent_messages.h"
#include "server/tls/tls_stream.h"

namespace holdfast {

// Null if the listener has no TLS.  `files`: Start::tls_files.  Errors begin
// with the listener's place in the configuration.
absl::StatusOr<std::unique_ptr<TlsServerContext>> MakeListenerTls(
    const Config& config, const Listener& listener,
    const std::vector<Start::File>& files, Signer* signer);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TLS_LISTENER_TLS_H_
