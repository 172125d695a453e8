#include "server/relay/dns_client.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"

namespace holdfast {
namespace {

using Status = DnsAnswer::Status;

// RFC 2308 section 5: a negative answer lives as long as its SOA says.
absl::Duration NegativeTtl(const DnsMessage& message) {
  if (message.authority.empty()) return kDefaultNegativeTtl;
  const DnsRecord& soa = message.authority.front();
  return std::min(absl::Seconds(std::min(soa.ttl, soa.minimum)),
                  kMaxNegativeTtl);
}

const DnsRecord* FindCname(const DnsMessage& message, const std::string& name) {
  for (const DnsRecord& r : message.answers)
    if (r.type == DnsType::kCname && r.name == name) return &r;
  return nullptr;
}

}  // namespace

DnsClient::DnsClient(EventLoop* loop, std::unique_ptr<DnsTransport> transport)
    : loop_(loop), transport_(std::move(transport)) {}

DnsClient::~DnsClient() = default;

void DnsClient::SetTransport(std::unique_ptr<DnsTransport> transport) {
  // The old one answers nothing any more once it is gone.
  transport_ = std::move(transport);
  cache_.clear();
  used_.clear();
  for (auto& [key, open] : open_) {
    open.name = key.first;
    open.depth = 0;
    open.ttl = kMaxDnsTtl;
    Ask(key);
  }
}

void DnsClient::Lookup(absl::string_view name, DnsType type, Done done) {
  const Key key(absl::AsciiStrToLower(absl::StripSuffix(name, ".")), type);
  const auto it = cache_.find(key);
  if (it != cache_.end() && it->second.expires > loop_->Elapsed()) {
    used_.splice(used_.begin(), used_, it->second.used);
    return FinishLater(std::move(done), it->second.answer);
  }
  const auto open = open_.find(key);
  if (open != open_.end()) {
    open->second.waiting.push_back(std::move(done));
    return;
  }
  if (open_.size() >= kMaxDnsQuestions)
    return FinishLater(std::move(done), std::make_shared<const DnsAnswer>());
  Open& fresh = open_[key];
  fresh.name = key.first;
  fresh.waiting.push_back(std::move(done));
  Ask(key);
}

void DnsClient::Ask(const Key& key) {
  transport_->Ask(open_.at(key).name, key.second,
                  [this, key](absl::StatusOr<std::string> bytes) {
                    OnAnswer(key, std::move(bytes));
                  });
}

void DnsClient::OnAnswer(const Key& key, absl::StatusOr<std::string> bytes) {
  Open& open = open_.at(key);
  if (!bytes.ok()) {
    const bool temporary = absl::IsUnavailable(bytes.status());
    return Finish(key, {temporary ? Status::kTemporary : Status::kInvalid, {}},
                  kMinDnsTtl);
  }
  const absl::StatusOr<DnsMessage> message = ParseDnsMessage(*bytes);
  if (!message.ok() || !message->response || message->truncated ||
      message->question != open.name ||
      message->question_type != static_cast<uint16_t>(key.second))
    return Finish(key, {Status::kTemporary, {}}, kMinDnsTtl);
  OnMessage(key, &open, *message);
}

void DnsClient::OnMessage(const Key& key, Open* open,
                          const DnsMessage& message) {
  switch (message.rcode) {
    case DnsRcode::kNoError:
      break;
    case DnsRcode::kNxDomain:
      return Finish(key, {Status::kNoDomain, {}}, NegativeTtl(message));
    case DnsRcode::kFormErr:
      return Finish(key, {Status::kInvalid, {}}, kMinDnsTtl);
    default:
      return Finish(key, {Status::kTemporary, {}}, kMinDnsTtl);
  }
  const std::string asked = open->name;
  while (true) {
    DnsAnswer answer{Status::kFound, {}};
    for (const DnsRecord& r : message.answers) {
      if (r.type != key.second || r.name != open->name) continue;
      open->ttl = std::min(open->ttl, absl::Seconds(r.ttl));
      answer.records.push_back(r);
    }
    if (!answer.records.empty())
      return Finish(key, std::move(answer), open->ttl);
    const DnsRecord* cname = FindCname(message, open->name);
    if (cname == nullptr) break;
    if (++open->depth > kMaxCnameDepth)
      return Finish(key, {Status::kTemporary, {}}, kMinDnsTtl);
    open->ttl = std::min(open->ttl, absl::Seconds(cname->ttl));
    open->name = cname->target;
  }
  // A chain that leads out of the answer is followed, unless the server says
  // that there is nothing at its end.
  if (open->name != asked && message.authority.empty()) return Ask(key);
  Finish(key, {Status::kNoData, {}}, std::min(open->ttl, NegativeTtl(message)));
}

void DnsClient::Finish(const Key& key, DnsAnswer answer, absl::Duration ttl) {
  const Key k = key;  // it may live in what we take apart
  const Shared shared = std::make_shared<const DnsAnswer>(std::move(answer));
  Remember(k, shared, ttl);
  std::vector<Done> waiting = std::move(open_.at(k).waiting);
  open_.erase(k);
  for (Done& done : waiting) done(*shared);
}

void DnsClient::Remember(const Key& key, Shared answer, absl::Duration ttl) {
  const auto old = cache_.find(key);
  if (old != cache_.end()) {
    used_.erase(old->second.used);
    cache_.erase(old);
  }
  if (cache_.size() >= kDnsCacheEntries) {
    cache_.erase(used_.back());
    used_.pop_back();
  }
  used_.push_front(key);
  cache_[key] = {std::move(answer),
                 loop_->Elapsed() + std::clamp(ttl, kMinDnsTtl, kMaxDnsTtl),
                 used_.begin()};
}

void DnsClient::FinishLater(Done done, Shared answer) {
  ready_.emplace_back(std::move(done), std::move(answer));
  if (ready_.size() > 1) return;
  deliver_ = loop_->RunAfter(absl::ZeroDuration(), [this] {
    auto ready = std::exchange(ready_, {});
    for (auto& [done, answer] : ready) done(*answer);
  });
}

}  // namespace holdfast
