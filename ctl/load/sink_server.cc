#include "ctl/load/sink_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace holdfast {

SinkServer::SinkServer(Poller* poller, const SinkPlan& plan,
                       const Limits& limits, uint64_t seed,
                       LedgerWriter* ledger)
    : poller_(poller),
      plan_(plan),
      limits_(limits),
      random_(seed),
      ledger_(ledger) {}

SinkServer::~SinkServer() {
  for (const int fd : listening_) {
    poller_->Remove(fd);
    close(fd);
  }
}

void SinkServer::Listen(int fd) {
  listening_.push_back(fd);
  poller_->Add(fd, EPOLLIN, [this, fd](uint32_t) { Accept(fd); });
}

void SinkServer::Accept(int listening) {
  ended_.clear();  // none of them is on the stack here
  const int fd =
      accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  if (static_cast<int64_t>(sessions_.size()) >= plan_.max_connections) {
    close(fd);
    return;
  }
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  ++connections_;
  auto session =
      std::make_unique<SinkSession>(poller_, fd, &plan_, &random_, this);
  SinkSession* key = session.get();
  sessions_[key] = std::move(session);
  most_sessions_ = std::max<int64_t>(most_sessions_, sessions_.size());
  key->Start();
}

// The ledger is written before the 250: what the client may believe to be
// delivered is in it, whenever the sink is stopped.
void SinkServer::OnTook(const SinkMessage& message) {
  last_ms_ = Poller::NowMs();
  if (messages_ == 0) first_ms_ = last_ms_;
  ++messages_;
  recipients_ += message.recipients.size();
  bytes_ += message.bytes;
  LedgerEntry entry;
  entry.kind = LedgerEntry::Kind::kTook;
  entry.id = message.reader.id();
  entry.msgid = message.reader.msgid();
  entry.recipients = message.recipients;
  if (message.reader.has_checksum()) {
    entry.body = message.reader.intact() ? LedgerEntry::Body::kOk
                                         : LedgerEntry::Body::kDamaged;
    if (entry.body == LedgerEntry::Body::kDamaged) ++damaged_;
  }
  if (entry.id.empty()) ++unnumbered_;
  ledger_->Add(std::move(entry));
  Flush();
  if (!message.reader.id().empty()) CountPairs(message);
  if (!plan_.capture.empty()) Capture(message);
  if ((limits_.messages > 0 && messages_ >= limits_.messages) ||
      (limits_.recipients > 0 && recipients_ >= limits_.recipients)) {
    // Not at once: the client is to get its 250.
    poller_->After(100, [this] { poller_->Stop(); });
  }
}

void SinkServer::CountPairs(const SinkMessage& message) {
  for (const std::string& recipient : message.recipients) {
    const uint64_t key = absl::HashOf(message.reader.id(), recipient);
    auto found = pairs_.find(key);
    if (found != pairs_.end()) {
      ++repeated_;
      if (found->second < UINT16_MAX) ++found->second;
    } else if (pairs_.size() < kCountedPairs) {
      pairs_.emplace(key, 1);
    }
  }
}

void SinkServer::Capture(const SinkMessage& message) {
  if (captured_ >= plan_.capture_limit) return;
  const std::string path = absl::StrCat(plan_.capture, "/", ++captured_);
  std::ofstream file(path, std::ios::binary);
  file << message.text;
  file.close();
  if (!file && status_.ok()) {
    status_ = absl::UnavailableError(absl::StrCat(path, ": ", strerror(errno)));
    poller_->Stop();
  }
}

void SinkServer::Flush() {
  const absl::Status written = ledger_->Flush();
  if (written.ok() || !status_.ok()) return;
  status_ = written;
  poller_->Stop();
}

void SinkServer::OnEnvelopeCommand(absl::string_view line) {
  if (plan_.commands.empty()) return;
  if (!commands_.is_open()) commands_.open(plan_.commands, std::ios::app);
  commands_ << std::string(line) << std::endl;
  if (!commands_ && status_.ok())
    status_ = absl::UnavailableError(absl::StrCat(plan_.commands, ": failed"));
}

void SinkServer::OnUnusual(SinkStage stage) {
  ++unusual_[static_cast<size_t>(stage)];
}

void SinkServer::OnEnd(SinkSession* session) {
  auto node = sessions_.extract(session);
  ended_.push_back(std::move(node.mapped()));
  // Deleted when the next connection comes; a few sessions' memory at most.
  if (ended_.size() == 1) {
    poller_->After(0, [this] { ended_.clear(); });
  }
}

std::string SinkServer::StatsJson() const {
  const double seconds = std::max<int64_t>(last_ms_ - first_ms_, 1) / 1e3;
  int64_t unusual = 0;
  for (const int64_t count : unusual_) unusual += count;
  return absl::StrFormat(
      "{\"messages\":%d,\"recipients\":%d,\"bytes\":%d,\"connections\":%d,"
      "\"most_sessions\":%d,\"unnumbered\":%d,\"damaged\":%d,\"repeated\":%d,"
      "\"unusual_answers\":%d,\"captured\":%d,\"seconds\":%.3f,"
      "\"rate\":%.1f}",
      messages_, recipients_, bytes_, connections_, most_sessions_, unnumbered_,
      damaged_, repeated_, unusual, captured_, seconds, messages_ / seconds);
}

}  // namespace holdfast
