#include "server/relay/route_tls.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/vis.h"
#include "server/log/log.h"
#include "server/tls/tls_log.h"

namespace holdfast {
namespace {

// What the certificate must be for: a literal goes without its brackets.
std::string PeerName(const MailHost& host) {
  if (const auto literal = ParseAddressLiteral(host.name))
    return literal->ToString();
  return host.name;
}

std::string FailureText(const absl::Status& why) {
  if (absl::IsDeadlineExceeded(why)) return kConnectionTimeout;
  if (absl::IsUnavailable(why)) return "Connection closed unexpectedly";
  return absl::StrCat("IO Error: ", why.message());
}

}  // namespace

RouteTls::RouteTls(RelayServices* services, Route* route,
                   std::unique_ptr<Stream> plain, Done done)
    : services_(services), route_(route), done_(std::move(done)) {
  absl::StatusOr<std::unique_ptr<TlsHandshake>> begun =
      services_->tls()->Connect(
          route_->action, route_->policy.verify, std::move(plain),
          PeerName(route_->host), kReplyTimeout,
          [this](absl::StatusOr<std::unique_ptr<Stream>> stream,
                 const TlsInfo& info) { OnDone(std::move(stream), info); });
  if (begun.ok()) {
    handshake_ = *std::move(begun);
    return;
  }
  failing_ = services_->loop()->RunAfter(
      absl::ZeroDuration(), [this, why = begun.status()] { OnDone(why, {}); });
}

void RouteTls::OnDone(absl::StatusOr<std::unique_ptr<Stream>> stream,
                      const TlsInfo& info) {
  // We are inside its callback.
  services_->loop()->AtTurnEnd([over = std::move(handshake_)] {});
  // The callback may destroy us.
  Done done = std::move(done_);
  const std::string session = ToString(route_->session);
  if (!stream.ok()) {
    if (absl::IsUnauthenticated(stream.status()))
      LogInfo("%s %s", session, VisEncode(FailedCertCheckLogText(info)));
    return done(absl::UnavailableError(FailureText(stream.status())));
  }
  LogInfo("%s %s", session, VisEncode(TlsLogText("mta", info)));
  LogInfo("%s %s", session, VisEncode(CertCheckLogText("mta", info)));
  route_->secure = true;
  route_->tls_verified = info.peer_verified;
  route_->tls = absl::StrCat(TlsCiphersText(info), " ",
                             info.peer_verified ? "verified" : "unverified");
  done(std::move(stream));
}

}  // namespace holdfast
