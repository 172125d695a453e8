#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <sys/time.h>

#include <cstring>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/string_view.h"
#include "server/relay/dns_transport.h"

namespace holdfast {
namespace {

// Answers up to this size come by UDP: what passes every path unfragmented.
constexpr uint16_t kUdpBytes = 1232;

class CaresTransport : public DnsTransport {
 public:
  CaresTransport(EventLoop* loop, const ResolvConf& conf,
                 absl::BitGenRef random)
      : loop_(loop), random_(random) {
    ares_options options{};
    options.flags = ARES_FLAG_EDNS | ARES_FLAG_STAYOPEN | ARES_FLAG_NOSEARCH |
                    ARES_FLAG_NOALIASES;
    options.ednspsz = kUdpBytes;
    options.timeout = static_cast<int>(absl::ToInt64Milliseconds(conf.timeout));
    options.tries = conf.attempts;
    options.sock_state_cb = [](void* self, ares_socket_t fd, int readable,
                               int writable) {
      static_cast<CaresTransport*>(self)->OnSocket(fd, readable, writable);
    };
    options.sock_state_cb_data = this;
    // With all of these said it looks at no file of the system.
    in_addr no_server{};
    char lookups[] = "b";
    options.servers = &no_server;
    options.nservers = 1;
    options.ndots = 1;
    options.lookups = lookups;
    const int mask = ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS |
                     ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB |
                     ARES_OPT_SERVERS | ARES_OPT_DOMAINS | ARES_OPT_NDOTS |
                     ARES_OPT_LOOKUPS | ARES_OPT_SORTLIST;
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS ||
        ares_init_options(&channel_, &options, mask) != ARES_SUCCESS) {
      channel_ = nullptr;  // Ask() says so
      return;
    }
    SetServers(conf);
  }

  ~CaresTransport() override {
    dropping_ = true;
    if (channel_ != nullptr) ares_destroy(channel_);
    ares_library_cleanup();
  }

  void Ask(const std::string& name, DnsType type, Done done) override {
    uint16_t id = 0;
    do {
      id = absl::Uniform<uint16_t>(random_);
    } while (!ids_.insert(id).second);
    absl::StatusOr<std::string> question =
        EncodeDnsQuestion(id, name, type, kUdpBytes);
    if (question.ok() && channel_ == nullptr)
      question = absl::UnavailableError("no resolver");
    auto* query = new Query{this, id, std::move(done)};
    if (!question.ok()) return Finish(query, question.status());
    ares_send(
        channel_, reinterpret_cast<const unsigned char*>(question->data()),
        static_cast<int>(question->size()),
        [](void* query, int status, int, unsigned char* bytes, int size) {
          OnAnswer(static_cast<Query*>(query), status, bytes, size);
        },
        query);
    ArmTimer();
  }

 private:
  struct Query {
    CaresTransport* transport;
    uint16_t id;
    Done done;
  };

  void SetServers(const ResolvConf& conf) {
    std::vector<ares_addr_port_node> nodes(conf.servers.size());
    for (size_t i = 0; i < nodes.size(); ++i) {
      const ResolvConf::Server& server = conf.servers[i];
      nodes[i].next = i + 1 < nodes.size() ? &nodes[i + 1] : nullptr;
      nodes[i].family = server.address.inet6 ? AF_INET6 : AF_INET;
      nodes[i].udp_port = nodes[i].tcp_port = server.port;
      std::memcpy(&nodes[i].addr, server.address.bytes.data(),
                  server.address.inet6 ? 16 : 4);
    }
    ares_set_servers_ports(channel_, nodes.data());
  }

  static void OnAnswer(Query* query, int status, unsigned char* bytes,
                       int size) {
    CaresTransport* self = query->transport;
    if (self->dropping_) {
      delete query;
      return;
    }
    if (status == ARES_SUCCESS && bytes != nullptr)
      return self->Finish(query, std::string(reinterpret_cast<char*>(bytes),
                                             static_cast<size_t>(size)));
    self->Finish(query, absl::UnavailableError(ares_strerror(status)));
  }

  // In a later turn, whatever called us.
  void Finish(Query* query, absl::StatusOr<std::string> answer) {
    ids_.erase(query->id);
    finished_.emplace_back(std::move(query->done), std::move(answer));
    delete query;
    if (finished_.size() == 1)
      deliver_ = loop_->RunAfter(absl::ZeroDuration(), [this] { Deliver(); });
  }
  void Deliver() {
    auto finished = std::exchange(finished_, {});
    for (auto& [done, answer] : finished) done(std::move(answer));
  }

  void OnSocket(ares_socket_t fd, int readable, int writable) {
    if (!readable && !writable) {
      watches_.erase(fd);
      return;
    }
    std::unique_ptr<EventLoop::Watch>& watch = watches_[fd];
    if (watch == nullptr)
      watch = loop_->WatchDescriptor(
          fd, [this, fd] { Process(fd, ARES_SOCKET_BAD); },
          [this, fd] { Process(ARES_SOCKET_BAD, fd); });
    watch->Want(readable, writable);
  }

  void Process(ares_socket_t readable, ares_socket_t writable) {
    ares_process_fd(channel_, readable, writable);
    ArmTimer();
  }

  void ArmTimer() {
    timeval most{60, 0}, wait{};
    if (ids_.empty()) {
      timer_.reset();
      return;
    }
    ares_timeout(channel_, &most, &wait);
    timer_ = loop_->RunAfter(absl::DurationFromTimeval(wait), [this] {
      Process(ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    });
  }

  EventLoop* loop_;
  absl::BitGenRef random_;
  ares_channel channel_ = nullptr;
  bool dropping_ = false;
  std::map<ares_socket_t, std::unique_ptr<EventLoop::Watch>> watches_;
  EventLoop::Timer timer_;
  std::set<uint16_t> ids_;  // of questions without an answer
  std::vector<std::pair<Done, absl::StatusOr<std::string>>> finished_;
  EventLoop::Timer deliver_;
};

}  // namespace

std::unique_ptr<DnsTransport> MakeCaresTransport(EventLoop* loop,
                                                 const ResolvConf& conf,
                                                 absl::BitGenRef random) {
  return std::make_unique<CaresTransport>(loop, conf, random);
}

}  // namespace holdfast
