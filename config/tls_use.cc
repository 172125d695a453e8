#include "config/tls_use.h"

#include <algorithm>

namespace holdfast {
namespace {

using System = TlsUse::System;

System SystemOf(const Action& action) {
  if (!action.ca.empty() || action.tls == Action::Tls::kNoVerify)
    return System::kNo;
  if (action.tls == Action::Tls::kRequired) return System::kYes;
  // A relay URL may be smtps:// or smtp+tls://.
  return action.host != nullptr || action.domain != nullptr ? System::kPerhaps
                                                            : System::kIfThere;
}

void AddCa(const Config& config, const std::string& name, TlsUse* use) {
  if (config.cas.count(name) != 0) use->cas.insert(name);
}

void AddPki(const Config& config, const std::string& name, TlsUse* use) {
  if (config.pkis.count(name) != 0) use->pkis.insert(name);
}

}  // namespace

TlsUse TlsOfListeners(const Config& config) {
  TlsUse use;
  for (const Listener& listener : config.listeners) {
    for (const std::string& name : listener.pki) AddPki(config, name, &use);
    AddCa(config, listener.ca, &use);
    if (listener.tls_verify && listener.ca.empty()) use.system = System::kYes;
  }
  return use;
}

TlsUse TlsOfRelays(const Config& config) {
  TlsUse use;
  for (const auto& [name, action] : config.actions) {
    if (action.method != ActionMethod::kRelay) continue;
    AddPki(config, action.pki, &use);
    AddCa(config, action.ca, &use);
    use.system = std::max(use.system, SystemOf(action));
  }
  return use;
}

}  // namespace holdfast
