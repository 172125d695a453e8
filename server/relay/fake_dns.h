// For tests: a name server in memory.  Answers are made as bytes, so that they
// go through the same parser as real ones.
#ifndef HOLDFAST_SERVER_RELAY_FAKE_DNS_H_
#define HOLDFAST_SERVER_RELAY_FAKE_DNS_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "server/loop/event_loop.h"
#include "server/relay/dns_transport.h"

namespace holdfast {

// What a server says to `question`: its answers, an SOA with `minimum` if
// there are none, `rcode`.
std::string MakeDnsResponse(absl::string_view question,
                            const std::vector<DnsRecord>& answers,
                            DnsRcode rcode = DnsRcode::kNoError,
                            uint32_t minimum = 60);

class FakeDns : public DnsTransport {
 public:
  explicit FakeDns(EventLoop* loop) : loop_(loop) {}

  void Address(const std::string& name, const std::string& address,
               uint32_t ttl = 300);
  void Mx(const std::string& name, uint16_t preference,
          const std::string& target);
  void Alias(const std::string& name, const std::string& target);
  void Pointer(const std::string& address, const std::string& target);
  // Every question for the name is answered with this.
  void Rcode(const std::string& name, DnsRcode rcode) { rcodes_[name] = rcode; }
  void Fail(const std::string& name, absl::Status status) {
    failures_[name] = std::move(status);
  }
  void Raw(const std::string& name, std::string bytes) {
    raw_[name] = std::move(bytes);
  }
  // The answer to a question has only the first link of a chain of aliases.
  void SetShortChains() { short_chains_ = true; }

  // "mx example.org", in order.
  const std::vector<std::string>& questions() const { return questions_; }

  void Ask(const std::string& name, DnsType type, Done done) override;

 private:
  absl::StatusOr<std::string> Answer(const std::string& name, DnsType type);

  EventLoop* loop_;
  bool short_chains_ = false;
  std::vector<DnsRecord> records_;
  std::map<std::string, DnsRcode> rcodes_;
  std::map<std::string, absl::Status> failures_;
  std::map<std::string, std::string> raw_;
  std::vector<std::string> questions_;
  std::vector<EventLoop::Timer> timers_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_FAKE_DNS_H_
