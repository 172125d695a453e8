#include "server/tls/session_cache.h"

#include <openssl/pool.h>
#include <openssl/x509.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace holdfast {
namespace {

size_t ChainBytes(const SSL_SESSION* session) {
  size_t bytes = 0;
  const STACK_OF(CRYPTO_BUFFER)* const chain =
      SSL_SESSION_get0_peer_certificates(session);
  if (chain == nullptr) return 0;
  for (const CRYPTO_BUFFER* one : chain) bytes += CRYPTO_BUFFER_len(one);
  return bytes;
}

bool IsUsable(const SSL_SESSION* session) {
  const X509* const leaf = SSL_SESSION_get0_peer(session);
  return SSL_SESSION_is_resumable(session) && leaf != nullptr &&
         X509_cmp_current_time(X509_get0_notAfter(leaf)) > 0;
}

}  // namespace

void SessionCache::Add(const std::string& name,
                       bssl::UniquePtr<SSL_SESSION> session) {
  if (ChainBytes(session.get()) > kMaxChain) return;
  const auto of_name = by_name_.find(name);
  if (of_name != by_name_.end() && of_name->second.size() >= kMaxSessionsOfName)
    Erase(of_name->second.front());
  if (sessions_.size() >= kMaxSessions) Erase(sessions_.begin());
  sessions_.push_back({name, std::move(session)});
  by_name_[name].push_back(std::prev(sessions_.end()));
}

bssl::UniquePtr<SSL_SESSION> SessionCache::Take(const std::string& name) {
  for (;;) {
    const auto of_name = by_name_.find(name);
    if (of_name == by_name_.end()) return nullptr;
    const Place newest = of_name->second.back();
    SSL_SESSION* const session = newest->session.get();
    const bool usable = IsUsable(session);
    bssl::UniquePtr<SSL_SESSION> taken = bssl::UpRef(session);
    if (!usable || SSL_SESSION_should_be_single_use(session)) Erase(newest);
    if (usable) return taken;
  }
}

void SessionCache::Erase(Place place) {
  const auto of_name = by_name_.find(place->name);
  std::vector<Place>& places = of_name->second;
  places.erase(std::find(places.begin(), places.end(), place));
  if (places.empty()) by_name_.erase(of_name);
  sessions_.erase(place);
}

}  // namespace holdfast
