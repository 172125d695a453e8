// Who uses which certificates.  Pure.
#ifndef HOLDFAST_CONFIG_TLS_USE_H_
#define HOLDFAST_CONFIG_TLS_USE_H_

#include <set>
#include <string>

#include "config/config.h"

namespace holdfast {

// Of all listeners, or of all relay actions.
struct TlsUse {
  std::set<std::string> pkis, cas;  // names that Config::pkis and cas have
  // The system's authorities: not at all; if there are any, so that mail that
  // wants it (REQUIRETLS) can go through opportunistic TLS; it is to be said if
  // there are none, for a table may name a next hop that is verified; or
  // always.
  enum class System { kNo, kIfThere, kPerhaps, kYes } system = System::kNo;
};

TlsUse TlsOfListeners(const Config& config);
TlsUse TlsOfRelays(const Config& config);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_TLS_USE_H_
