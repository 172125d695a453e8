// DNS records by name and type: follows CNAME, keeps answers for as long as
// they say, asks once for what several want at a time.
#ifndef HOLDFAST_SERVER_RELAY_DNS_CLIENT_H_
#define HOLDFAST_SERVER_RELAY_DNS_CLIENT_H_

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/dns_message.h"
#include "server/loop/event_loop.h"
#include "server/relay/dns_transport.h"

namespace holdfast {

struct DnsAnswer {
  enum class Status : uint8_t {
    kFound,
    kNoData,     // the name exists, but has nothing of this type
    kNoDomain,   // NXDOMAIN
    kTemporary,  // SERVFAIL, REFUSED, nobody answers, an answer that is none
    kInvalid,    // FORMERR, or it is not a name
  } status = Status::kTemporary;
  std::vector<DnsRecord> records;  // of the type asked for
};

inline constexpr int kMaxCnameDepth = 10;
inline constexpr size_t kDnsCacheEntries = 20000;
inline constexpr size_t kMaxDnsQuestions = 2000;  // open at a time
inline constexpr absl::Duration kMinDnsTtl = absl::Seconds(5);
inline constexpr absl::Duration kMaxDnsTtl = absl::Hours(24);
inline constexpr absl::Duration kMaxNegativeTtl = absl::Hours(1);
inline constexpr absl::Duration kDefaultNegativeTtl = absl::Seconds(60);

class DnsClient {
 public:
  using Done = absl::AnyInvocable<void(const DnsAnswer&)>;

  DnsClient(EventLoop* loop, std::unique_ptr<DnsTransport> transport);
  ~DnsClient();

  // Asks by another way from now on, what is open too; what was known may be
  // wrong there.
  void SetTransport(std::unique_ptr<DnsTransport> transport);

  // `done` is called in a later turn.
  void Lookup(absl::string_view name, DnsType type, Done done);

 private:
  using Key = std::pair<std::string, DnsType>;
  using Shared = std::shared_ptr<const DnsAnswer>;
  struct Cached {
    Shared answer;
    absl::Duration expires;  // on EventLoop::Elapsed()
    std::list<Key>::iterator used;
  };
  // A question under way.
  struct Open {
    std::string name;  // where the chain of CNAMEs has led
    int depth = 0;
    absl::Duration ttl = kMaxDnsTtl;  // the least along the chain
    std::vector<Done> waiting;
  };

  void Ask(const Key& key);
  void OnAnswer(const Key& key, absl::StatusOr<std::string> bytes);
  void OnMessage(const Key& key, Open* open, const DnsMessage& message);
  void Finish(const Key& key, DnsAnswer answer, absl::Duration ttl);
  void Remember(const Key& key, Shared answer, absl::Duration ttl);
  void FinishLater(Done done, Shared answer);

  EventLoop* loop_;
  std::unique_ptr<DnsTransport> transport_;
  absl::flat_hash_map<Key, Cached> cache_;
  std::list<Key> used_;  // of cache_, latest first
  std::map<Key, Open> open_;
  // Answers that were there already, for the next turn.
  std::vector<std::pair<Done, Shared>> ready_;
  EventLoop::Timer deliver_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_DNS_CLIENT_H_
