// The room that takes mail in: listeners, SMTP sessions, the enqueue socket.
// It sees no table, no key and no queue; it asks `lookup` where mail goes, and
// gives `queue` complete messages.
#ifndef HOLDFAST_SERVER_RECEIVE_RECEIVE_ROOM_H_
#define HOLDFAST_SERVER_RECEIVE_RECEIVE_ROOM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/filter_client/filter_client.h"
#include "server/loop/stream.h"
#include "server/receive/client_limits.h"
#include "server/receive/client_table.h"
#include "server/receive/lookup_client.h"
#include "server/receive/proxy_reader.h"
#include "server/receive/queue_client.h"
#include "server/receive/reverse_names.h"
#include "server/receive/smtp_connection.h"
#include "server/room/room.h"
#include "server/tls/keys_client.h"

namespace holdfast {

// Descriptors kept free for everything that is not a client.
inline constexpr size_t kReservedDescriptors = 64;
inline constexpr absl::Duration kSessionCountsInterval = absl::Seconds(1);
// How often `lookup` is asked whether SCRAM can be offered: tables change.
inline constexpr absl::Duration kScramInterval = absl::Seconds(60);

class ReceiveRoom : public RoomHandler, private SmtpConnection::Owner {
 public:
  static absl::StatusOr<std::unique_ptr<RoomHandler>> Make(RoomContext context);

  // `max_sessions`: more are not accepted; the system could not serve them.
  ReceiveRoom(RoomContext context, size_t max_sessions);
  // Once, before anything else: what needs more than the configuration.
  absl::Status Begin();
  ~ReceiveRoom() override;

  void OnDoor(const NewDoor& to, std::unique_ptr<Door> door) override;
  bool OnParentFrame(Frame& frame) override;
  void OnStop(absl::Duration grace) override;

  // Takes over a connected, non-blocking socket as if it had been accepted.
  void AddClient(const ReceiveListener* listener, int fd);
  // The same for a peer at `address`, as log lines have it.
  void AddClientAt(const ReceiveListener* listener, std::string address,
                   int fd);
  const std::vector<std::unique_ptr<ReceiveListener>>& listeners() const {
    return listeners_;
  }

 private:
  absl::Status MakeListeners();
  absl::Status AddListener(const Listener& from, uint32_t index,
                           const Start::Bound* bound, int fd);
  void MapClients(int fd);
  void AskScram();
  // Opens or closes the doors to clients, as the state of things demands.
  void UpdateAccepting();
  bool MayAccept() const;
  bool IsFull() const;
  void ReadProxyHeader(const ReceiveListener* listener, SessionId id,
                       std::string address, int fd);
  void OnProxyHeader(const ReceiveListener* listener, SessionId id,
                     const std::string& address,
                     absl::StatusOr<ProxyReader::Client> client);
  // `proxied`: the port of `address`, if a balancer has told both.
  void Serve(const ReceiveListener* listener, SessionId id,
             const std::string& address, int fd,
             std::optional<uint16_t> proxied = std::nullopt);
  void Refuse(SessionId id, const std::string& address, const Reply& reply,
              int fd);
  // SmtpConnection::Owner.
  void OnConnectionClosed(SmtpConnection* connection) override;
  void PumpLater(SmtpConnection* connection) override;
  void OnCounted() override { TellCounts(); }
  void EndTurn();
  void EndTurnLater();
  void OnQueueGone();
  void OnFiltersChanged();
  void TellCounts();
  void ExitIfDone();
  SessionId NextSessionId();

  RoomContext context_;
  const size_t max_sessions_;
  KeysClient keys_;  // outlives the listeners
  std::vector<std::unique_ptr<ReceiveListener>> listeners_;
  std::vector<std::unique_ptr<Acceptor>> acceptors_;  // of the network
  std::unique_ptr<Acceptor> enqueue_acceptor_;
  bool ever_lookup_ = false;  // a door to lookup has been there
  bool full_ = false;         // max_sessions_ was reached, and this was said
  bool stopping_ = false;
  EventLoop::Timer stop_deadline_;

  FilterClient filters_;  // outlives what the others still hold of sessions
  QueueClient queue_;
  LookupClient lookup_;
  ReverseNames names_;
  std::unique_ptr<ClientTable> client_table_;  // null: clients aren't counted
  std::unique_ptr<ClientLimits> clients_;
  ReceiveServices services_;
  EventLoop::Timer scram_timer_;

  uint32_t session_counter_;
  bool counts_changed_ = false;
  EventLoop::Timer counts_timer_;  // set while it is too early to tell again

  // Connections whose PROXY header is still to come.
  absl::flat_hash_map<SessionId, std::unique_ptr<ProxyReader>> proxies_;
  absl::flat_hash_map<SmtpConnection*, std::shared_ptr<SmtpConnection>>
      connections_;
  // For the end of the turn.
  std::vector<std::weak_ptr<SmtpConnection>> to_pump_;
  std::vector<std::shared_ptr<SmtpConnection>> to_drop_;
  std::vector<std::unique_ptr<ProxyReader>> proxies_to_drop_;
  bool turn_end_asked_ = false;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RECEIVE_RECEIVE_ROOM_H_
