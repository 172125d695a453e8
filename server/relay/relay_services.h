// What the room gives to its searches for routes and to its sessions.
#ifndef HOLDFAST_SERVER_RELAY_RELAY_SERVICES_H_
#define HOLDFAST_SERVER_RELAY_RELAY_SERVICES_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "protocol/ip_address.h"
#include "protocol/sasl_client.h"
#include "server/door/door.h"
#include "server/door/worker_messages.h"
#include "server/loop/event_loop.h"
#include "server/loop/stream.h"
#include "server/relay/batch_work.h"
#include "server/relay/failure_memory.h"
#include "server/relay/filter_reports.h"
#include "server/relay/resolver.h"
#include "server/relay/route_policy.h"
#include "server/relay/secret_questions.h"
#include "server/relay/tls_connector.h"

namespace holdfast {

// Makes connections.
class Dialer {
 public:
  using Done =
      absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<Stream>>)>;
  virtual ~Dialer() = default;
  // As Connect() in server/loop/stream.h.
  [[nodiscard]] virtual PendingConnect Dial(
      const IpAddress& address, uint16_t port,
      const std::optional<IpAddress>& source, absl::Duration timeout,
      Done done) = 0;
  // To the Unix socket of an `lmtp` action.
  [[nodiscard]] virtual PendingConnect DialUnix(const std::string& action,
                                                absl::Duration timeout,
                                                Done done) = 0;
  // True: it was `parent`'s answer to DialUnix().
  virtual bool OnParentFrame(Frame&) { return false; }
};

// Of a connection, a handshake, and every answer that we wait for.
inline constexpr absl::Duration kReplyTimeout = absl::Seconds(300);
// What the error says when that is over.
inline constexpr char kConnectionTimeout[] = "Connection timeout";

// A way that is being tried: where to, through which slot, as which session.
struct Route {
  RelayTarget target;
  const Action* action = nullptr;  // null: gone from the configuration
  std::string key;                 // RelayKey(): who may share the session
  RoutePolicy policy;
  MailHost host;  // through a Unix socket: its path is the name
  uint64_t slot = 0;
  SessionId session{};
  std::string helo;
  std::string source;  // our own address; empty: a Unix socket
  // The connection is inside TLS; BatchOutcomes::tls.
  bool secure = false;
  bool tls_verified = false;
  std::string tls;
  // Of that the first word: "TLSv1.3:TLS_AES_256_GCM_SHA384:256".
  std::string Ciphers() const { return tls.substr(0, tls.find(' ')); }
  // What the address is called; empty until DNS has said it.
  std::shared_ptr<std::string> host_name = std::make_shared<std::string>();
  // Of the connection; null: no filter hears of it.
  std::shared_ptr<SessionReports> reports;

  bool is_unix() const { return !policy.unix_path.empty(); }
  // "192.0.2.9 (mx.example.net)", "[2001:db8::1] (2001:db8::1)"; of a Unix
  // socket "/path (/path)".
  std::string RelayText() const;
  // What the columns of an outcome say.
  RelayVia Via() const;
};

class RelayServices {
 public:
  virtual ~RelayServices() = default;

  virtual EventLoop* loop() = 0;
  virtual const Config& config() = 0;
  virtual Resolver* resolver() = 0;
  virtual Dialer* dialer() = 0;
  virtual TlsConnector* tls() = 0;
  virtual SecretQuestions* secrets() = 0;
  virtual FailureMemory* failures() = 0;
  virtual FilterReports* filter_reports() = 0;
  // What passwords are proven with.
  virtual const SaslCrypto* crypto() = 0;
  virtual SessionId NewSessionId() = 0;

  // Questions to `queue`.  The answer comes in a later turn; never, once
  // cancelled or when the queue goes.  A slot that is granted for nobody is
  // given back.  The results are never 0.
  virtual uint64_t AskSlot(
      SlotRequest request,
      absl::AnyInvocable<void(const SlotAnswer&)> done) = 0;
  virtual void CancelSlot(uint64_t question) = 0;
  virtual uint64_t AskBody(BodyRequest request,
                           absl::AnyInvocable<void(BodyPart)> done) = 0;
  virtual void CancelBody(uint64_t question) = 0;
  // A route's slot of 0 belonged to a queue that is gone: nobody is told.
  virtual void ReportSlot(const Route& route, SlotReport::Event event) = 0;

  // The outcome of one recipient of one message; the first one counts.
  virtual void Decide(BatchWork* work, size_t message, size_t recipient,
                      const RelayVia& via, WorkerOutcome outcome) = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_RELAY_SERVICES_H_
