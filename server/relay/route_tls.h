// The TLS handshake of one route: log lines, and what went wrong in the words
// of the reference (part 2, sections 3.8 and 8.3).
#ifndef HOLDFAST_SERVER_RELAY_ROUTE_TLS_H_
#define HOLDFAST_SERVER_RELAY_ROUTE_TLS_H_

#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "server/relay/relay_services.h"
#include "server/tls/tls_stream.h"

namespace holdfast {

// Dropping it gives up; also from within its callback.
class RouteTls {
 public:
  // The encrypted stream, paused; the route knows what is known of it
  // (Route::tls, tls_verified).  Or the error's text: "IO Error: certificate
  // verification failed: self-signed certificate".
  using Done =
      absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<Stream>>)>;

  // `route` outlives it.  `done` is called once, never inside this call.
  RouteTls(RelayServices* services, Route* route, std::unique_ptr<Stream> plain,
           Done done);

 private:
  void OnDone(absl::StatusOr<std::unique_ptr<Stream>> stream,
              const TlsInfo& info);

  RelayServices* const services_;
  Route* const route_;
  Done done_;
  std::unique_ptr<TlsHandshake> handshake_;
  EventLoop::Timer failing_;  // it could not be begun
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_ROUTE_TLS_H_
