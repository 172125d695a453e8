#include "server/relay/relay_services.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace holdfast {
std::string Route::RelayText() const {
  if (is_unix()) return absl::StrCat(host.name, " (", host.name, ")");
  return absl::StrCat(host.address.ToBracketed(), " (",
                      host_name->empty() ? host.address.ToString() : *host_name,
                      ")");
}

RelayVia Route::Via() const {
  RelayVia via;
  via.session = session;
  if (!source.empty()) {
    const std::optional<IpAddress> address = IpAddress::Parse(source);
    via.source = address ? address->ToBracketed() : source;
  }
  via.relay = RelayText();
  via.tls = tls;
  return via;
}

}  // namespace holdfast
