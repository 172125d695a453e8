// Sessions that a client can go on with, by what they are for.
#ifndef HOLDFAST_SERVER_TLS_SESSION_CACHE_H_
#define HOLDFAST_SERVER_TLS_SESSION_CACHE_H_

#include <openssl/ssl.h>

#include <cstddef>
#include <list>
#include <string>
#include <unordered_map>
#include <vector>

namespace holdfast {

// Bounded: the oldest go.  Used on one thread.
class SessionCache {
 public:
  static constexpr size_t kMaxSessions = 1000;
  // A busy next hop is spoken to over several connections at once, and a ticket
  // of TLS 1.3 serves one of them.
  static constexpr size_t kMaxSessionsOfName = 8;
  // A session bears the peer's certificates, in DER and parsed; with longer
  // chains (in DER) it is not kept.
  static constexpr size_t kMaxChain = 16 << 10;

  void Add(const std::string& name, bssl::UniquePtr<SSL_SESSION> session);
  // The newest for `name` that can be used; null: none.  One that may be used
  // once only (RFC 8446 appendix C.4) is gone then; so are those whose
  // certificate has expired meanwhile, since nobody looks at it again.
  bssl::UniquePtr<SSL_SESSION> Take(const std::string& name);
  size_t size() const { return sessions_.size(); }

 private:
  struct Session {
    std::string name;
    bssl::UniquePtr<SSL_SESSION> session;
  };
  using Place = std::list<Session>::iterator;
  void Erase(Place place);

  std::list<Session> sessions_;  // the newest last
  std::unordered_map<std::string, std::vector<Place>> by_name_;  // likewise
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TLS_SESSION_CACHE_H_
