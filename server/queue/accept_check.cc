#include "server/queue/accept_check.h"

#include <algorithm>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

absl::Status Wrong(absl::string_view what) {
  return absl::InvalidArgumentError(what);
}

absl::Status CheckBody(const AcceptRequest& request, const ChunksSeen& seen,
                       const Config& config) {
  const BodyInfo& body = request.body;
  if (body.codec != BodyCodec::kRaw && body.codec != BodyCodec::kZstd) {
    return Wrong("unknown codec");
  }
  if (body.raw_bytes > config.max_message_size + kHeaderAllowance) {
    return Wrong("body is too large");
  }
  if (seen.chunks > 0) {
    if (!request.stored.empty()) return Wrong("body came twice");
    if (body.chunks != seen.chunks) return Wrong("chunks are missing");
    if (body.stored_bytes != seen.bytes) return Wrong("body size is wrong");
    return absl::OkStatus();
  }
  if (body.chunks != 1) return Wrong("chunks are missing");
  if (body.stored_bytes != request.stored.size()) {
    return Wrong("body size is wrong");
  }
  return absl::OkStatus();
}

bool TextsFit(const Envelope& e) {
  for (const std::string* text :
       {&e.action, &e.tag, &e.smtpname, &e.helo, &e.hostname, &e.username,
        &e.sockaddr, &e.sender.user, &e.sender.domain, &e.rcpt.user,
        &e.rcpt.domain, &e.dest.user, &e.dest.domain, &e.dsn_envid,
        &e.dsn_orcpt, &e.mda_user, &e.mda_subaddress, &e.mda_exec,
        &e.routing_key}) {
    if (text->size() > kMaxEnvelopeText) return false;
    if (text->find_first_of(std::string("\0\r\n", 3)) != std::string::npos) {
      return false;
    }
  }
  return true;
}

absl::Status CheckEnvelope(const Envelope& e, const AcceptRequest& request,
                           const Config& config, absl::Time now) {
  if (MessageOf(e.id) != request.message ||
      static_cast<uint32_t>(static_cast<uint64_t>(e.id)) == 0) {
    return Wrong("envelope id of another message");
  }
  const auto action = config.actions.find(e.action);
  if (action == config.actions.end()) return Wrong("unknown action");
  if (action->second.IsLocal() != (e.kind == DeliveryKind::kMda) ||
      (e.kind != DeliveryKind::kMda && e.kind != DeliveryKind::kMta)) {
    return Wrong("action of another kind");
  }
  if (e.routing_key.empty()) return Wrong("no routing key");
  if (!TextsFit(e)) return Wrong("malformed text");
  if (e.created > now + kMaxAge || e.created < now - kMaxAge ||
      e.expires < e.created || e.expires == absl::InfiniteFuture()) {
    return Wrong("times make no sense");
  }
  const absl::Time epoch = absl::UnixEpoch();
  if (e.hold_until != epoch && (e.hold_until < e.created - kMaxAge ||
                                e.hold_until > e.created + kMaxHold)) {
    return Wrong("held for too long");
  }
  if (e.deliver_by != epoch && (e.deliver_by < e.created - kMaxDeliverBy ||
                                e.deliver_by > e.created + kMaxDeliverBy)) {
    return Wrong("deliver-by time makes no sense");
  }
  if (e.priority > kMaxPriority || e.priority < -kMaxPriority) {
    return Wrong("no such priority");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckAccept(const AcceptRequest& request, const ChunksSeen& seen,
                         const Config& config, absl::Time now) {
  if (request.envelopes.empty()) return Wrong("no envelopes");
  if (absl::Status body = CheckBody(request, seen, config); !body.ok()) {
    return body;
  }
  absl::flat_hash_set<EnvelopeId> ids;
  for (const Envelope& e : request.envelopes) {
    if (!ids.insert(e.id).second) return Wrong("envelope id twice");
    absl::Status status = CheckEnvelope(e, request, config, now);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

void ResetQueueFields(Envelope* envelope) {
  envelope->flags &= kFlagAuthenticated | kFlagInternal | kFlagRequireTls |
                     kFlagSmtpUtf8 | kFlagBinaryMime | kFlag8BitMime |
                     kFlagDeliverByReturn | kFlagTls |
                     kFlagHeld;  // a milter's quarantine
  envelope->retry = 0;
  envelope->last_try = absl::UnixEpoch();
  envelope->last_bounce = absl::UnixEpoch();
  envelope->status = EnhancedStatus();
  envelope->error_line.clear();
  // Its life begins when its hold ends (RFC 4865 section 4).
  envelope->expires += envelope->Released() - envelope->created;
}

}  // namespace holdfast
