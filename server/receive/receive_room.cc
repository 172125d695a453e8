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

namespace holdfast {
namespace {

constexpr uint16_t kSubmissionPort = 587;
constexpr size_t kFewestSessions = 16;

size_t SessionsThatDescriptorsAllow() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kFewestSessions;
  const size_t descriptors = limit.rlim_cur;
  return std::max(kFewestSessions,
                  descriptors - std::min(descriptors, kReservedDescriptors));
}

// "192.0.2.1" or "[2001:db8::1]"; an IPv4 client of an IPv6 socket is IPv4.
// Empty if the client has gone.
std::string PeerAddress(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0)
    return "";
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

void LogLocalUser(SessionId id, int fd) {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0)
    LogDebug("debug: smtp: %s local session of uid %d", ToString(id), peer.uid);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RoomHandler>> ReceiveRoom::Make(
    RoomContext context) {
  return std::make_unique<ReceiveRoom>(std::move(context),
                                       SessionsThatDescriptorsAllow());
}

ReceiveRoom::ReceiveRoom(RoomContext context, size_t max_sessions)
    : context_(std::move(context)),
      max_sessions_(max_sessions),
      queue_([this] { UpdateAccepting(); }, [this] { OnQueueGone(); }),
      names_(context_.loop),
      services_{.loop = context_.loop,
                .queue = &queue_,
                .lookup = &lookup_,
                .names = &names_,
                .random = context_.random,
                .zone = absl::LocalTimeZone(),
                .queue_ttl = context_.config->queue_ttl,
                .server_name = context_.config->server_name,
                .scratch = {}},
      session_counter_(absl::Uniform<uint32_t>(context_.random)) {
  const std::vector<std::string>& paused = context_.start->paused;
  queue_.SetPaused(std::find(paused.begin(), paused.end(), "smtp") !=
                   paused.end());
  MakeListeners();
  UpdateAccepting();
}

ReceiveRoom::~ReceiveRoom() = default;

// ---- Listeners

void ReceiveRoom::MakeListeners() {
  const Start& start = *context_.start;
  size_t next_fd = 0;
  if (start.has_enqueue && next_fd < context_.fds.size())
    AddListener(context_.config->socket_listener, nullptr,
                context_.fds[next_fd++].get());
  for (const Start::Bound& bound : start.bound) {
    if (next_fd >= context_.fds.size() ||
        bound.listener >= context_.config->listeners.size())
      break;
    AddListener(context_.config->listeners[bound.listener], &bound,
                context_.fds[next_fd++].get());
  }
}

void ReceiveRoom::AddListener(const Listener& from, const Start::Bound* bound,
                              int fd) {
  const Config& config = *context_.config;
  auto listener = std::make_unique<ReceiveListener>();
  listener->smtp.name =
      from.hostname.empty() ? config.server_name : from.hostname;
  listener->smtp.dsn = !from.no_dsn;
  listener->smtp.max_message_size = config.max_message_size;
  listener->smtp.max_recipients = config.smtp_limits.max_rcpt;
  listener->smtp.max_messages = config.smtp_limits.max_mails;
  listener->tag = from.tag;
  listener->header_domain = listener->smtp.name;
  listener->socket = bound == nullptr;
  listener->mask_source = from.mask_src;
  // A listener is local if it is bound to a loopback address (reference part
  // 1, section 1.9).
  listener->add_missing = bound == nullptr || bound->address == "127.0.0.1" ||
                          bound->address == "[::1]" ||
                          bound->port == kSubmissionPort;
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
  const std::string address = listener->socket ? "local" : PeerAddress(fd);
  if (address.empty()) {
    close(fd);
    return;
  }
  const SessionId id = NextSessionId();
  if (listener->socket) LogLocalUser(id, fd);
  std::unique_ptr<Stream> stream = MakeStream(context_.loop, fd);
  if (listener->socket && queue_.paused()) {
    std::string refusal;
    replies::ShuttingDown().AppendTo(&refusal);
    stream->Write(refusal);
    return;
  }
  ++(listener->socket    ? counts_.local
     : address[0] == '[' ? counts_.inet6
                         : counts_.inet4);
  ++counts_.now;
  TellCounts();
  SmtpConnection::Owner owner;
  owner.pump_later = [this](SmtpConnection* c) { PumpLater(c); };
  owner.closed = [this](SmtpConnection* c) { OnSessionClosed(c); };
  auto connection = std::make_shared<SmtpConnection>(
      &services_, listener, id, address, std::move(stream), std::move(owner));
  connections_[connection.get()] = connection;
  if (connections_.size() >= max_sessions_ && !full_) {
    full_ = true;
    LogWarn("warn: Disabling incoming SMTP connections: Client limit reached");
    UpdateAccepting();
  }
  connection->Start();
}

void ReceiveRoom::OnSessionClosed(SmtpConnection* connection) {
  const auto found = connections_.find(connection);
  if (found == connections_.end()) return;
  to_drop_.push_back(std::move(found->second));
  connections_.erase(found);
  EndTurnLater();
  --counts_.now;
  ++counts_.closed;
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
      break;
    case Room::kRelay:
      names_.SetDoor(to.number, std::move(door));
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

// When it changed, at most once in the interval.
void ReceiveRoom::TellCounts() {
  counts_changed_ = true;
  if (counts_timer_ != nullptr) return;
  counts_timer_ = context_.loop->RunAfter(kSessionCountsInterval, [this] {
    counts_timer_ = nullptr;
    if (!std::exchange(counts_changed_, false)) return;
    queue_.Tell(counts_);
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
