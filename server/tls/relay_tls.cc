#include "server/tls/relay_tls.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/tls/tls_files.h"

namespace holdfast {
namespace {

std::string Part(absl::string_view bytes) {
  return absl::StrCat(bytes.size(), ":", bytes);
}

absl::StatusOr<TlsClientOptions> OptionsOf(
    const Config& config, const Action& action, bool verify,
    const std::vector<Start::File>& files) {
  TlsClientOptions options;
  options.verify = verify;
  if (!action.pki.empty()) {
    const auto pki = config.pkis.find(action.pki);
    if (pki == config.pkis.end()) {
      return absl::NotFoundError(
          absl::StrCat("client pki \"", action.pki, "\" not found"));
    }
    options.certificate = {action.pki, TlsFile(files, pki->second.cert)};
  }
  // Opportunistic TLS takes any certificate, but says whether it holds.
  const bool judge = verify || action.tls == Action::Tls::kOpportunistic;
  if (!action.ca.empty()) {
    const auto ca = config.cas.find(action.ca);
    if (ca == config.cas.end()) {
      return absl::NotFoundError(
          absl::StrCat("client ca \"", action.ca, "\" not found"));
    }
    if (judge) options.ca = TlsFile(files, ca->second.cert);
  } else if (judge) {
    options.ca = TlsFile(files, kSystemAuthorities);
  }
  options.ciphers =
      action.ciphers.empty() ? config.smtp_ciphers : action.ciphers;
  options.protocols = action.protocols;
  return options;
}

}  // namespace

absl::StatusOr<TlsClientContext*> RelayTls::For(const Action& action,
                                                bool verify) {
  const std::string policy = absl::StrCat(
      Part(action.pki), Part(action.ca), Part(action.ciphers),
      Part(action.protocols), verify, action.tls == Action::Tls::kNoVerify);
  const auto known = contexts_.find(policy);
  if (known != contexts_.end()) return known->second.get();
  auto wrong = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat(
        action.position.file, ":", action.position.line, ": ", why));
  };
  absl::StatusOr<TlsClientOptions> options =
      OptionsOf(config_, action, verify, files_);
  if (!options.ok()) return wrong(options.status().message());
  absl::StatusOr<std::unique_ptr<TlsClientContext>> made =
      MakeTlsClientContext(*options, signer_);
  if (!made.ok() && !verify && action.ca.empty()) {
    // Who does not insist on certificates does without the system's list.
    options->ca.clear();
    made = MakeTlsClientContext(*options, signer_);
  }
  if (!made.ok()) return wrong(made.status().message());
  return contexts_.emplace(policy, *std::move(made)).first->second.get();
}

}  // namespace holdfast
