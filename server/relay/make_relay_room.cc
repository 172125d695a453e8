#include <optional>
#include <utility>

#include "server/relay/relay_room.h"
#include "server/relay/socket_dialer.h"
#include "storage/crypto/key_derivation.h"

namespace holdfast {

absl::StatusOr<std::unique_ptr<RoomHandler>> MakeRelayRoom(
    RoomContext context) {
  ResolverOptions options;
  options.conf = ParseResolvConf(context.start->resolv_conf);
  options.hosts = HostsFile(context.start->hosts);
  for (const std::string& text : context.start->local_addresses)
    if (const std::optional<IpAddress> own = IpAddress::Parse(text))
      options.own.push_back(*own);
  RelayRoom::Parts parts;
  parts.resolver = MakeDnsResolver(
      context.loop, std::move(options),
      [loop = context.loop, random = context.random](const ResolvConf& conf) {
        return MakeCaresTransport(loop, conf, random);
      });
  parts.dialer = MakeDialer(context.loop, context.parent);
  parts.tls =
      MakeTlsConnector(context.loop, *context.config, context.start->tls_files);
  parts.crypto = &kSaslCrypto;
  return std::make_unique<RelayRoom>(std::move(context), std::move(parts));
}

}  // namespace holdfast
