#include "storage/import_batch.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/body_codec.h"

namespace holdfast {
namespace {

constexpr size_t kMaxText = 4096;
constexpr int kMaxPriority = 9;
// Of chunks in a group, sessions take turns; imports are one.
constexpr uint64_t kImportSession = ~0ull;

absl::Status Wrong(EnvelopeId id, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("envelope ", ToString(id), ": ", what));
}

bool OneLine(const std::string& text) {
  return text.size() <= kMaxText &&
         text.find_first_of(std::string("\0\r\n", 3)) == std::string::npos;
}

bool TextsFit(const Envelope& e) {
  for (const std::string* text :
       {&e.action,      &e.tag,         &e.smtpname,
        &e.helo,        &e.hostname,    &e.username,
        &e.sockaddr,    &e.sender.user, &e.sender.domain,
        &e.rcpt.user,   &e.rcpt.domain, &e.dest.user,
        &e.dest.domain, &e.dsn_envid,   &e.dsn_orcpt,
        &e.error_line,  &e.mda_user,    &e.mda_subaddress,
        &e.mda_exec,    &e.routing_key}) {
    if (!OneLine(*text)) return false;
  }
  for (const Attempt& a : e.attempts) {
    for (const std::string* text : {&a.source, &a.relay, &a.tls, &a.answer})
      if (text->size() > kMaxText) return false;
  }
  return true;
}

absl::Status CheckMessage(const ImportMessage& m) {
  if (m.envelopes.empty() || m.envelopes.size() > kMaxImportEnvelopes ||
      m.dues.size() != m.envelopes.size())
    return absl::InvalidArgumentError(absl::StrCat(
        "message ", ToString(m.message), ": ", m.envelopes.size(),
        " envelopes; 1 to ", kMaxImportEnvelopes, " can be taken"));
  if (m.body.codec != BodyCodec::kRaw && m.body.codec != BodyCodec::kZstd)
    return absl::InvalidArgumentError("body of an unknown codec");
  for (const Envelope& e : m.envelopes) {
    const absl::Status status = CheckImportEnvelope(e, m.message);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

ImportResult::Code CodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return ImportResult::Code::kOk;
    case absl::StatusCode::kAlreadyExists:
      return ImportResult::Code::kIdInUse;
    case absl::StatusCode::kFailedPrecondition:
      return ImportResult::Code::kGone;
    case absl::StatusCode::kResourceExhausted:
      return ImportResult::Code::kNoRoom;
    default:
      return ImportResult::Code::kError;
  }
}

}  // namespace

absl::Status CheckImportEnvelope(const Envelope& e, MessageId message) {
  if (MessageOf(e.id) != message ||
      static_cast<uint32_t>(static_cast<uint64_t>(e.id)) == 0)
    return Wrong(e.id, "belongs to another message");
  if (e.kind != DeliveryKind::kMda && e.kind != DeliveryKind::kMta)
    return Wrong(e.id, "neither local nor to be relayed");
  if (e.action.empty() || e.routing_key.empty())
    return Wrong(e.id, "no action, or no routing key");
  if (!TextsFit(e)) return Wrong(e.id, "a text is too long or of many lines");
  if (e.expires <= absl::UnixEpoch() || e.expires == absl::InfiniteFuture() ||
      e.created == absl::InfinitePast() || e.created > e.expires)
    return Wrong(e.id, "its times make no sense");
  if (e.priority > kMaxPriority || e.priority < -kMaxPriority)
    return Wrong(e.id, "no such priority");
  return absl::OkStatus();
}

absl::Status CheckImportRequest(const ImportRequest& request) {
  for (const ImportChunk& chunk : request.chunks) {
    if (chunk.bytes.empty() || chunk.bytes.size() > kMaxChunkBytes)
      return absl::InvalidArgumentError("chunk of an impossible size");
  }
  for (const ImportMessage& m : request.messages) {
    const absl::Status status = CheckMessage(m);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

QueueBatch ImportBatch(ImportRequest request) {
  QueueBatch batch;
  for (ImportChunk& chunk : request.chunks) {
    StoreChunk op;
    op.message = chunk.message;
    op.session = kImportSession;
    op.index = chunk.index;
    op.bytes = std::move(chunk.bytes);
    op.keep_id = chunk.keep_id;
    batch.push_back(std::move(op));
  }
  for (ImportMessage& m : request.messages) {
    AcceptMessage op;
    op.message = m.message;
    op.body = m.body;
    op.stored = std::move(m.stored);
    op.created = m.created;
    op.envelopes = std::move(m.envelopes);
    op.dues = std::move(m.dues);
    op.origin = ImportOrigin{m.origin_store, m.origin_serial, m.origin_message,
                             m.keep_id, m.again};
    batch.push_back(std::move(op));
  }
  for (const MessageId id : request.drops) batch.push_back(DropIncoming{id});
  return batch;
}

ImportAnswer ImportAnswerOf(const BatchResult& result, size_t results) {
  ImportAnswer answer;
  for (size_t i = 0; i < results; ++i) {
    ImportResult& one = answer.results.emplace_back();
    const absl::Status status =
        result.status.ok() && i < result.operations.size()
            ? result.operations[i].status
            : result.status;
    one.code = CodeOf(status);
    one.error = std::string(status.message());
    if (status.ok() && i < result.operations.size())
      one.taken = static_cast<uint32_t>(result.operations[i].envelopes.size());
  }
  return answer;
}

}  // namespace holdfast
