// Limits by a client's address (`smtp limit`), over all `receive` processes.
#ifndef HOLDFAST_SERVER_RECEIVE_CLIENT_LIMITS_H_
#define HOLDFAST_SERVER_RECEIVE_CLIENT_LIMITS_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/time/time.h"
#include "config/config.h"
#include "protocol/ip_address.h"
#include "server/receive/client_table.h"

namespace holdfast {

// Which limit acts, and how: softly, a client is told to come again later;
// who goes on all the same, to twice the limit of a rate, is cut off.
enum class ClientLimit : uint8_t {
  kNone,
  kSessionsOfSource,   // max-sessions-per-source
  kSessionsOfNetwork,  // max-sessions-per-network
  kConnectsOfSource,   // max-connects-per-source
  kMailsOfSource,      // max-mails-per-source
};
struct LimitVerdict {
  ClientLimit limit = ClientLimit::kNone;
  bool hard = false;
  bool allowed() const { return limit == ClientLimit::kNone; }
};

// A source without an entry of its own, for the table is full, is judged by the
// counts of its network: so many times the rate of a source.
inline constexpr uint32_t kNetworkShare = 4;

// Used on the loop's thread.  Loopback addresses are not counted.
class ClientLimits {
 public:
  // One session of a client; open until dropped.
  class Visit {
   public:
    Visit(ClientLimits* limits, const IpAddress& address, absl::Time now);
    ~Visit();
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

    // Of MAIL; counts it.
    LimitVerdict OnMail(absl::Time now);

   private:
    friend class ClientLimits;
    LimitVerdict OnConnect(absl::Time now);
    void Open();

    ClientLimits* const limits_;
    std::optional<ClientTable::Place> source_, network_;
    bool open_ = false;
  };

  // `table` may be null: nothing is counted then.  Both outlive this.
  ClientLimits(const SmtpLimits* limits, ClientTable* table)
      : limits_(limits), table_(table) {}

  // A client has connected.  Null if a limit acts, and then `*verdict` says
  // which.
  std::unique_ptr<Visit> Admit(const IpAddress& address, absl::Time now,
                               LimitVerdict* verdict);

 private:
  const SmtpLimits* const limits_;
  ClientTable* const table_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RECEIVE_CLIENT_LIMITS_H_
