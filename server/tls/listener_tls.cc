#include "server/tls/listener_tls.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/tls/tls_files.h"

namespace holdfast {
namespace {

TlsServerOptions OptionsOf(const Config& config, const Listener& listener,
                           const std::vector<Start::File>& files) {
  TlsServerOptions options;
  for (const std::string& name : listener.pki) {
    const auto pki = config.pkis.find(name);
    if (pki == config.pkis.end()) continue;
    options.certificates.push_back({name, TlsFile(files, pki->second.cert)});
  }
  options.require_client = listener.tls_verify;
  options.ask_client = !listener.ca.empty();
  if (options.require_client || options.ask_client) {
    const auto ca = config.cas.find(listener.ca);
    options.ca = TlsFile(
        files, ca == config.cas.end() ? kSystemAuthorities : ca->second.cert);
  }
  options.ciphers =
      listener.ciphers.empty() ? config.smtp_ciphers : listener.ciphers;
  options.protocols = listener.protocols;
  // Who may speak here, and where it takes him; not which of several sockets
  // of one kind it is.
  options.policy = absl::StrCat(
      static_cast<int>(listener.tls), "/", static_cast<int>(listener.auth), "/",
      listener.tag, "/", listener.hostname, "/",
      absl::StrJoin(listener.pki, ","), "/", listener.ca);
  return options;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TlsServerContext>> MakeListenerTls(
    const Config& config, const Listener& listener,
    const std::vector<Start::File>& files, Signer* signer) {
  if (listener.tls == Listener::Tls::kNone)
    return std::unique_ptr<TlsServerContext>();
  absl::StatusOr<std::unique_ptr<TlsServerContext>> made =
      MakeTlsServerContext(OptionsOf(config, listener, files), signer);
  if (made.ok()) return made;
  return absl::InvalidArgumentError(absl::StrCat(listener.position.file, ":",
                                                 listener.position.line, ": ",
                                                 made.status().message()));
}

}  // namespace holdfast
