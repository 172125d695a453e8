// Makes TLS on a connection to a next hop, as the policy of its route wants it.
#ifndef HOLDFAST_SERVER_RELAY_TLS_CONNECTOR_H_
#define HOLDFAST_SERVER_RELAY_TLS_CONNECTOR_H_

#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "server/loop/event_loop.h"
#include "server/loop/stream.h"
#include "server/tls/keys_client.h"
#include "server/tls/relay_tls.h"
#include "server/tls/tls_stream.h"

namespace holdfast {

class TlsConnector {
 public:
  virtual ~TlsConnector() = default;
  // As ConnectTls() in server/tls/tls_stream.h, with the certificate,
  // authorities, ciphers and protocols of `action` (null: the defaults).  An
  // error: there can be no TLS for this action; `plain` is closed then, and
  // `done` is not called.
  virtual absl::StatusOr<std::unique_ptr<TlsHandshake>> Connect(
      const Action* action, bool verify, std::unique_ptr<Stream> plain,
      const std::string& name, absl::Duration timeout, TlsDone done) = 0;
  // To `keys`, who signs for client certificates.
  virtual void SetKeysDoor(std::unique_ptr<Door> door) = 0;
};

// `config` and `tls_files` (Start::tls_files) outlive it.
std::unique_ptr<TlsConnector> MakeTlsConnector(
    EventLoop* loop, const Config& config,
    const std::vector<Start::File>& tls_files);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_TLS_CONNECTOR_H_
