#include "server/receive/receive_room.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "protocol/reply.h"
#include "server/log/log.h"
#include "server/receive/address_text.h"
#include "server/receive/limit_refusals.h"
#include "server/receive/receive_listener.h"
#include "server/tls/listener_tls.h"

namespace holdfast {
namespace {

constexpr size_t kFewestSessions = 16;

size_t SessionsThatDescriptorsAllow() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kFewestSessions;
  const size_t descriptors = limit.rlim_cur;
  return std::max(kFewestSessions,
                  descriptors - std::min(descriptors, kReservedDescriptors));
}

// Of either end: "192.0.2.1" or "[2001:db8::1]"; an IPv4 client of an IPv6
// socket is IPv4.  Empty if the client has gone.
std::string AddressOf(int fd, int (*name)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (name(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return "";
  char text[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return text;
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
  if (storage.ss_family != AF_INET6) return "";
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
    inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text, sizeof text);
    return text;
  }
  inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  return absl::StrCat("[", text, "]");
}

std::string PeerAddress(int fd) { return AddressOf(fd, getpeername); }

// ":25" of either end; ":0" if it is not known.
std::string PortText(int fd, int (*name)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  uint16_t port = 0;
  if (name(fd, reinterpret_cast<sockaddr*>(&storage), &length) == 0) {
    if (storage.ss_family == AF_INET)
      port = reinterpret_cast<const sockaddr_in&>(storage).sin_port;
    if (storage.ss_family == AF_INET6)
      port = reinterpret_cast<const sockaddr_in6&>(storage).sin6_port;
  }
  return absl::StrCat(":", ntohs(port));
}

// As filters are told of them.  A client behind a balancer has another port
// than its connection.
void SetEnds(SmtpConnection* connection, const std::string& address, int fd,
             std::optional<uint16_t> proxied) {
  const std::string ours = AddressOf(fd, getsockname);
  if (ours.empty()) return;
  const std::string port =
      proxied ? absl::StrCat(":", *proxied) : PortText(fd, getpeername);
  connection->SetEnds(absl::StrCat(address, port),
                      absl::StrCat(ours, PortText(fd, getsockname)));
}

void LogLocalUser(SessionId id, int fd) {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0)
    LogDebug("debug: smtp: %s local session of uid %d", ToString(id), peer.uid);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RoomHandler>> ReceiveRoom::Make(
    RoomContext context) {
  auto room = std::make_unique<ReceiveRoom>(std::move(context),
                                            SessionsThatDescriptorsAllow());
  const absl::Status begun = room->Begin();
  if (!begun.ok()) return begun;
  return std::unique_ptr<RoomHandler>(std::move(room));
}

ReceiveRoom::ReceiveRoom(RoomContext context, size_t max_sessions)
    : context_(std::move(context)),
      max_sessions_(max_sessions),
      keys_(context_.loop),
      filters_(
          context_.loop, "receive", [this] { OnFiltersChanged(); },
          [this] { OnFiltersChanged(); }, [this] { context_.exit(1); }),
      queue_([this] { UpdateAccepting(); }, [this] { OnQueueGone(); }),
      names_(context_.loop),
      services_{
          .loop = context_.loop,
          .queue = &queue_,
          .lookup = &lookup_,
          .names = &names_,
          .filters = &filters_,
          .clients = nullptr,
          .limits = &context_.config->smtp_limits,
          .random = context_.random,
          .zone = absl::LocalTimeZone(),
          .queue_ttl = context_.config->queue_ttl,
          .server_name = context_.config->server_name,
          .enqueue_socket = PathsBelow(context_.config->spool).enqueue_socket},
      session_counter_(absl::Uniform<uint32_t>(context_.random)) {
  const std::vector<std::string>& paused = context_.start->paused;
  queue_.SetPaused(std::find(paused.begin(), paused.end(), "smtp") !=
                   paused.end());
}

absl::Status ReceiveRoom::Begin() {
  const absl::Status made = MakeListeners();
  if (!made.ok()) return made;
  clients_ =
      std::make_unique<ClientLimits>(services_.limits, client_table_.get());
  services_.clients = clients_.get();
  UpdateAccepting();
  return absl::OkStatus();
}

ReceiveRoom::~ReceiveRoom() = default;

// ---- Listeners

absl::Status ReceiveRoom::MakeListeners() {
  const Start& start = *context_.start;
  size_t next_fd = 0;
  absl::Status status;
  if (start.has_enqueue && next_fd < context_.fds.size())
    status.Update(AddListener(context_.config->socket_listener, 0, nullptr,
                              context_.fds[next_fd++].get()));
  for (const Start::Bound& bound : start.bound) {
    if (next_fd >= context_.fds.size() ||
        bound.listener >= context_.config->listeners.size())
      break;
    status.Update(AddListener(context_.config->listeners[bound.listener],
                              bound.listener, &bound,
                              context_.fds[next_fd++].get()));
  }
  if (start.has_clients && next_fd < context_.fds.size())
    MapClients(context_.fds[next_fd].get());
  return status;
}

void ReceiveRoom::MapClients(int fd) {
  absl::StatusOr<std::unique_ptr<ClientTable>> mapped =
      ClientTable::Map(fd, context_.start->number);
  if (mapped.ok()) {
    client_table_ = *std::move(mapped);
  } else {
    LogWarn("warn: receive: clients are not counted: %s",
            mapped.status().message());
  }
}

absl::Status ReceiveRoom::AddListener(const Listener& from, uint32_t index,
                                      const Start::Bound* bound, int fd) {
  std::unique_ptr<ReceiveListener> listener =
      MakeReceiveListener(*context_.config, from, index, bound, context_.loop);
  absl::StatusOr<std::unique_ptr<TlsServerContext>> tls = MakeListenerTls(
      *context_.config, from, context_.start->tls_files, &keys_);
  if (!tls.ok()) return tls.status();
  listener->tls = *std::move(tls);
  if (listener->tls != nullptr) {
    keys_.Serve(listener->tls.get());
    listener->smtp.tls_ready =
        listener->smtp_near.tls_ready = [this] { return keys_.connected(); };
  }
  const ReceiveListener* const raw = listener.get();
  listeners_.push_back(std::move(listener));
  std::unique_ptr<Acceptor> acceptor = MakeAcceptor(
      context_.loop, fd, [this, raw](int client) { AddClient(raw, client); },
      [] {
        LogWarn(
            "warn: Disabling incoming SMTP connections: Client limit "
            "reached");
      });
  acceptor->Pause();
  if (raw->socket) {
    enqueue_acceptor_ = std::move(acceptor);
  } else {
    acceptors_.push_back(std::move(acceptor));
  }
  return absl::OkStatus();
}

// Whether SCRAM can be offered depends on what is in the tables.
void ReceiveRoom::AskScram() {
  bool any = false;
  for (const auto& listener : listeners_) {
    if (!listener->has_credentials) continue;
    any = true;
    ListenerTableQuestion question;
    question.listener = listener->index;
    question.table = ListenerTableQuestion::Table::kScram;
    lookup_.AskTable(std::move(question),
                     [raw = listener.get()](const ListenerTableAnswer& answer) {
                       if (answer.result == ListenerTableAnswer::Result::kError)
                         return;
                       const bool scram =
                           answer.result == ListenerTableAnswer::Result::kFound;
                       raw->smtp.scram = raw->smtp_near.scram = scram;
                     });
  }
  if (any) {
    scram_timer_ =
        context_.loop->RunAfter(kScramInterval, [this] { AskScram(); });
  }
}

// Not before there is somebody to ask; after that a restart of a peer is
// answered with temporary failures.
bool ReceiveRoom::MayAccept() const {
  return !stopping_ && !full_ && queue_.generation() > 0 && ever_lookup_;
}

void ReceiveRoom::UpdateAccepting() {
  const bool enqueue = MayAccept();
  const bool network = enqueue && !queue_.paused();
  for (const auto& acceptor : acceptors_)
    network ? acceptor->Resume() : acceptor->Pause();
  // The enqueue socket goes on while paused: its clients are told.
  if (enqueue_acceptor_ != nullptr)
    enqueue ? enqueue_acceptor_->Resume() : enqueue_acceptor_->Pause();
}

// ---- Clients

SessionId ReceiveRoom::NextSessionId() {
  const uint64_t low = absl::Uniform<uint32_t>(context_.random);
  return SessionId(uint64_t{++session_counter_} << 32 | low);
}

void ReceiveRoom::AddClient(const ReceiveListener* listener, int fd) {
  std::string address = listener->socket ? "local" : PeerAddress(fd);
  if (address.empty()) {
    close(fd);
    return;
  }
  AddClientAt(listener, std::move(address), fd);
}

void ReceiveRoom::AddClientAt(const ReceiveListener* listener,
                              std::string address, int fd) {
  const SessionId id = NextSessionId();
  if (listener->socket) {
    LogLocalUser(id, fd);
    if (queue_.paused())
      return Refuse(id, address, replies::ShuttingDown(), fd);
  } else if (IsFull()) {
    ++services_.counts.refused_sessions;
    return Refuse(id, address, TooManySessions(), fd);
  }
  if (listener->proxy)
    return ReadProxyHeader(listener, id, std::move(address), fd);
  Serve(listener, id, address, fd);
}

// `smtp limit max-sessions`; the local socket stays open.
bool ReceiveRoom::IsFull() const {
  const uint32_t most = context_.config->smtp_limits.max_sessions;
  return most != 0 && connections_.size() + proxies_.size() >= most;
}

// One line, as much of it as the system takes.
void ReceiveRoom::Refuse(SessionId id, const std::string& address,
                         const Reply& reply, int fd) {
  LogInfo("%s smtp refused address=%s result=\"%s\"", ToString(id), address,
          reply.FirstLine());
  std::string text;
  reply.AppendTo(&text);
  send(fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  close(fd);
  TellCounts();
}

void ReceiveRoom::ReadProxyHeader(const ReceiveListener* listener, SessionId id,
                                  std::string address, int fd) {
  proxies_[id] = std::make_unique<ProxyReader>(
      context_.loop, OwnedFd(fd), *listener->proxy,
      [this, listener, id, address = std::move(address)](
          absl::StatusOr<ProxyReader::Client> client) {
        const auto found = proxies_.find(id);
        proxies_to_drop_.push_back(std::move(found->second));
        proxies_.erase(found);
        EndTurnLater();
        OnProxyHeader(listener, id, address, std::move(client));
      });
}

void ReceiveRoom::OnProxyHeader(const ReceiveListener* listener, SessionId id,
                                const std::string& address,
                                absl::StatusOr<ProxyReader::Client> client) {
  if (!client.ok()) {
    LogInfo("proxy %s event=closed address=%s reason=\"%s\"", ToString(id),
            address, client.status().message());
    return ExitIfDone();
  }
  if (stopping_) return ExitIfDone();
  const std::string behind =
      client->address ? client->address->ToBracketed() : address;
  LogInfo("%s smtp event=proxy address=%s", ToString(id), behind);
  std::optional<uint16_t> port;
  if (client->address) port = client->port;
  Serve(listener, id, behind, client->fd.Release(), port);
}

void ReceiveRoom::Serve(const ReceiveListener* listener, SessionId id,
                        const std::string& address, int fd,
                        std::optional<uint16_t> proxied) {
  std::unique_ptr<ClientLimits::Visit> visit;
  if (const auto ip = IpAddress::Parse(WithoutBrackets(address))) {
    LimitVerdict verdict;
    visit = clients_->Admit(*ip, context_.loop->Now(), &verdict);
    if (visit == nullptr) {
      CountRefusal(verdict.limit, &services_.counts);
      if (!verdict.hard) return Refuse(id, address, RefusalFor(verdict), fd);
      close(fd);
      return TellCounts();
    }
  }
  SessionCounts& counts = services_.counts;
  ++(listener->socket    ? counts.local
     : address[0] == '[' ? counts.inet6
                         : counts.inet4);
  ++counts.now;
  TellCounts();
  auto connection = std::make_shared<SmtpConnection>(
      &services_, listener, id, address, MakeStream(context_.loop, fd),
      std::move(visit), static_cast<SmtpConnection::Owner*>(this));
  if (!listener->filter.empty())
    SetEnds(connection.get(), address, fd, proxied);
  connections_[connection.get()] = connection;
  if (connections_.size() >= max_sessions_ && !full_) {
    full_ = true;
    LogWarn("warn: Disabling incoming SMTP connections: Client limit reached");
    UpdateAccepting();
  }
  connection->Start();
}

void ReceiveRoom::OnConnectionClosed(SmtpConnection* connection) {
  const auto found = connections_.find(connection);
  if (found == connections_.end()) return;
  to_drop_.push_back(std::move(found->second));
  connections_.erase(found);
  EndTurnLater();
  --services_.counts.now;
  ++services_.counts.closed;
  TellCounts();
  // Well below the limit: at its edge each coming and going would be a line.
  if (full_ && connections_.size() <= max_sessions_ - max_sessions_ / 16) {
    full_ = false;
    LogWarn("warn: smtp: fd exhaustion over, re-enabling incoming connections");
    UpdateAccepting();
  }
  ExitIfDone();
}

void ReceiveRoom::PumpLater(SmtpConnection* connection) {
  to_pump_.push_back(connection->weak_from_this());
  EndTurnLater();
}

void ReceiveRoom::EndTurnLater() {
  if (turn_end_asked_) return;
  turn_end_asked_ = true;
  context_.loop->AtTurnEnd([this] { EndTurn(); });
}

// All answers of this turn have come: one write for each session.
void ReceiveRoom::EndTurn() {
  turn_end_asked_ = false;
  for (const auto& weak : std::exchange(to_pump_, {})) {
    if (auto connection = weak.lock()) connection->Pump();
  }
  to_drop_.clear();
  proxies_to_drop_.clear();
}

// ---- Other rooms

void ReceiveRoom::OnDoor(const NewDoor& to, std::unique_ptr<Door> door) {
  switch (to.peer) {
    case Room::kQueue:
      queue_.SetDoor(std::move(door));
      TellCounts();
      break;
    case Room::kLookup:
      lookup_.SetDoor(std::move(door));
      ever_lookup_ = true;
      AskScram();
      break;
    case Room::kRelay:
      names_.SetDoor(to.number, std::move(door));
      break;
    case Room::kFilters:
      filters_.SetDoor(std::move(door));
      break;
    case Room::kKeys:
      keys_.SetDoor(std::move(door));
      break;
    default:
      LogWarn("warn: receive: nothing to say to %s", RoomName(to.peer));
  }
  UpdateAccepting();
}

bool ReceiveRoom::OnParentFrame(Frame&) { return false; }

void ReceiveRoom::OnQueueGone() {
  std::vector<std::shared_ptr<SmtpConnection>> all;
  for (const auto& [raw, connection] : connections_) all.push_back(connection);
  for (const auto& connection : all) connection->OnQueueGone();
}

void ReceiveRoom::OnFiltersChanged() {
  std::vector<std::shared_ptr<SmtpConnection>> all;
  for (const auto& [raw, connection] : connections_) all.push_back(connection);
  for (const auto& connection : all) connection->OnFiltersChanged();
}

// When it changed, at most once in the interval.
void ReceiveRoom::TellCounts() {
  counts_changed_ = true;
  if (counts_timer_ != nullptr) return;
  counts_timer_ = context_.loop->RunAfter(kSessionCountsInterval, [this] {
    counts_timer_ = nullptr;
    if (!std::exchange(counts_changed_, false)) return;
    queue_.Tell(services_.counts);
  });
}

// ---- The end

void ReceiveRoom::OnStop(absl::Duration grace) {
  if (stopping_) return;
  stopping_ = true;
  UpdateAccepting();
  std::vector<std::shared_ptr<SmtpConnection>> all;
  for (const auto& [raw, connection] : connections_) all.push_back(connection);
  for (const auto& connection : all) connection->Stop();
  // They have not been greeted yet.
  proxies_.clear();
  stop_deadline_ = context_.loop->RunAfter(grace, [this] { context_.exit(0); });
  ExitIfDone();
}

// Who only waits for its client to close is not waited for.
void ReceiveRoom::ExitIfDone() {
  if (!stopping_) return;
  for (const auto& [raw, connection] : connections_) {
    if (!connection->lingering()) return;
  }
  context_.exit(0);
}

}  // namespace holdfast
