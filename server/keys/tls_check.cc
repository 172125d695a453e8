#include "server/keys/tls_check.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/keys/private_key.h"
#include "server/tls/certificate_chain.h"
#include "server/tls/listener_tls.h"
#include "server/tls/relay_tls.h"

namespace holdfast {
namespace {

class Checker {
 public:
  Checker(const Config& config, std::vector<Start::File> files,
          const std::function<std::string(std::string)>& ask)
      : config_(config), files_(std::move(files)), ask_(ask) {}

  TlsChecked Run() {
    for (const auto& [name, pki] : config_.pkis) CheckPki(pki);
    for (const auto& [name, ca] : config_.cas) CheckCa(ca);
    // Who uses a broken certificate needs no second complaint.
    if (result_.errors.empty()) {
      for (const Listener& listener : config_.listeners)
        CheckListener(listener);
      RelayTls relays(config_, files_, nullptr);
      for (const auto& [name, action] : config_.actions)
        CheckRelay(action, &relays);
    }
    return std::move(result_);
  }

 private:
  std::string* Find(const std::string& path) {
    const auto found =
        std::find_if(files_.begin(), files_.end(),
                     [&](const Start::File& f) { return f.path == path; });
    return found == files_.end() ? &empty_ : &found->contents;
  }

  void CheckPki(const Pki& pki) {
    auto fail = [&](absl::string_view file, absl::string_view why) {
      result_.errors.push_back(
          absl::StrCat("pki ", pki.name, ": ", file, ": ", why));
    };
    const absl::StatusOr<CertificateChain> chain =
        ParseCertificateChain(*Find(pki.cert));
    if (!chain.ok()) fail(pki.cert, chain.status().message());
    const absl::StatusOr<PrivateKey> key = ReadKey(pki);
    if (!key.ok()) fail(pki.key, key.status().message());
    if (chain.ok() && key.ok() && chain->key != key->id())
      fail(pki.key, absl::StrCat("not the key of certificate ", pki.cert));
  }

  absl::StatusOr<PrivateKey> ReadKey(const Pki& pki) {
    std::string* const pem = Find(pki.key);
    absl::StatusOr<PrivateKey> key = PrivateKey::Parse(*pem);
    if (!absl::IsPermissionDenied(key.status())) return key;
    key = PrivateKey::Parse(*pem, ask_(pki.name));
    if (!key.ok()) return key;
    absl::StatusOr<std::string> opened = key->ToPem();
    if (!opened.ok()) return opened.status();
    *pem = *opened;  // another pki may have the same file
    result_.opened.push_back({pki.key, *std::move(opened)});
    return key;
  }

  void CheckCa(const Ca& ca) {
    const auto parsed = ParseCertificates(*Find(ca.cert));
    if (parsed.ok()) return;
    result_.errors.push_back(absl::StrCat("ca ", ca.name, ": ", ca.cert, ": ",
                                          parsed.status().message()));
  }

  void CheckListener(const Listener& listener) {
    const auto made = MakeListenerTls(config_, listener, files_, nullptr);
    if (!made.ok())
      result_.errors.push_back(std::string(made.status().message()));
  }

  void CheckRelay(const Action& action, RelayTls* relays) {
    if (action.method != ActionMethod::kRelay) return;
    const auto made = relays->For(action, action.tls == Action::Tls::kRequired);
    if (!made.ok())
      result_.errors.push_back(std::string(made.status().message()));
  }

  const Config& config_;
  std::vector<Start::File> files_;
  const std::function<std::string(std::string)>& ask_;
  std::string empty_;
  TlsChecked result_;
};

}  // namespace

TlsChecked CheckTls(const Config& config, std::vector<Start::File> files,
                    const std::function<std::string(std::string)>& ask) {
  return Checker(config, std::move(files), ask).Run();
}

}  // namespace holdfast
