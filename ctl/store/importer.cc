#include "ctl/store/importer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace holdfast {
namespace {

// Of one request.
constexpr size_t kMaxReady = 64;
constexpr size_t kMaxReadyBytes = 512 << 10;

uint32_t RecipientOf(EnvelopeId id) {
  return static_cast<uint32_t>(static_cast<uint64_t>(id));
}

}  // namespace

absl::Status Importer::Message(const ExportMessage& message) {
  message_ = ImportMessage();
  message_.message = message_.origin_message = message.id;
  message_.keep_id = true;
  message_.again = options_.again;
  message_.origin_store = message.origin_store;
  message_.origin_serial = message.origin_serial;
  message_.created = message.created;
  body_ = BodyCompressor();
  chunks_ = 0;
  return absl::OkStatus();
}

absl::Status Importer::Envelope(const ExportEnvelope& envelope) {
  message_.envelopes.push_back(envelope.envelope);
  message_.dues.push_back(envelope.due.value_or(absl::Now()));
  return absl::OkStatus();
}

absl::Status Importer::Renumber(ImportMessage* message) {
  ImportRequest request;
  request.lease = true;
  const absl::StatusOr<ImportAnswer> answer = link_.Ask(std::move(request));
  if (!answer.ok()) return answer.status();
  message->message = answer->leased;
  message->keep_id = false;
  for (holdfast::Envelope& e : message->envelopes)
    e.id = MakeEnvelopeId(message->message, RecipientOf(e.id));
  ++renumbered_;
  return absl::OkStatus();
}

absl::Status Importer::ErrorOf(const ImportMessage& message,
                               const ImportResult& result) const {
  const std::string text = absl::StrCat(
      "message ", ToString(message.origin_message), ": ", result.error);
  if (result.code == ImportResult::Code::kNoRoom)
    return absl::ResourceExhaustedError(
        absl::StrCat(text, "; import again when there is room"));
  return absl::FailedPreconditionError(text);
}

absl::Status Importer::Body(absl::string_view bytes) {
  // What was ready goes first, so that memory holds one large body at most.
  return SendChunks(body_.Write(bytes));
}

absl::Status Importer::BeginChunks(ImportChunk first) {
  absl::Status status;
  if (options_.ids == ImportOptions::Ids::kNew) status = Renumber(&message_);
  while (status.ok()) {
    ImportRequest request;
    first.message = message_.message;
    first.keep_id = message_.keep_id;
    request.chunks = {first};
    const absl::StatusOr<ImportAnswer> answer = link_.Ask(std::move(request));
    if (!answer.ok()) return answer.status();
    if (answer->results.size() != 1)
      return absl::InternalError("an answer to something else");
    const ImportResult& result = answer->results[0];
    if (result.code == ImportResult::Code::kOk) {
      chunks_ = 1;
      return status;
    }
    if (result.code != ImportResult::Code::kIdInUse || !message_.keep_id ||
        options_.ids == ImportOptions::Ids::kSame)
      return ErrorOf(message_, result);
    status = Renumber(&message_);
  }
  return status;
}

absl::Status Importer::SendChunks(std::vector<std::string> chunks) {
  for (std::string& bytes : chunks) {
    ImportChunk chunk;
    chunk.message = message_.message;
    chunk.index = chunks_;
    chunk.bytes = std::move(bytes);
    if (chunks_ == 0) {
      const absl::Status status = BeginChunks(std::move(chunk));
      if (!status.ok()) return status;
      continue;
    }
    ImportRequest request;
    request.chunks.push_back(std::move(chunk));
    const absl::StatusOr<ImportAnswer> answer = link_.Ask(std::move(request));
    if (!answer.ok()) return answer.status();
    if (answer->results.size() != 1)
      return absl::InternalError("an answer to something else");
    if (answer->results[0].code != ImportResult::Code::kOk)
      return ErrorOf(message_, answer->results[0]);
    ++chunks_;
  }
  return absl::OkStatus();
}

absl::Status Importer::EndMessage() {
  CompressedBody body = body_.Finish();
  message_.body = body.info;
  absl::Status status;
  if (body.info.chunks == 1) {
    message_.stored = std::move(body.chunks[0]);
    if (options_.ids == ImportOptions::Ids::kNew) status = Renumber(&message_);
  } else {
    status = SendChunks(std::move(body.chunks));
  }
  if (!status.ok()) return status;
  ready_bytes_ += message_.stored.size() + 1024 * message_.envelopes.size();
  ready_.push_back(std::move(message_));
  if (ready_.size() < kMaxReady && ready_bytes_ < kMaxReadyBytes &&
      chunks_ == 0)
    return absl::OkStatus();
  return Flush();
}

absl::Status Importer::Flush() {
  std::vector<ImportMessage> ready = std::exchange(ready_, {});
  ready_bytes_ = 0;
  if (ready.empty()) return absl::OkStatus();
  ImportRequest request;
  request.messages = ready;
  const absl::StatusOr<ImportAnswer> answer = link_.Ask(std::move(request));
  if (!answer.ok()) return answer.status();
  if (answer->results.size() != ready.size())
    return absl::InternalError("an answer to something else");
  for (size_t i = 0; i < ready.size(); ++i) {
    const absl::Status status = OnResult(&ready[i], answer->results[i]);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Importer::OnResult(ImportMessage* message,
                                const ImportResult& result) {
  switch (result.code) {
    case ImportResult::Code::kOk:
      taken_ += result.taken;
      repeats_ += message->envelopes.size() - result.taken;
      return absl::OkStatus();
    case ImportResult::Code::kGone:
      gone_ += message->envelopes.size();
      return absl::OkStatus();
    case ImportResult::Code::kIdInUse:
      break;
    case ImportResult::Code::kNoRoom:
    case ImportResult::Code::kError:
      return ErrorOf(*message, result);
  }
  // One that came in chunks has its id already.
  if (!message->keep_id || message->body.chunks != 1 ||
      options_.ids == ImportOptions::Ids::kSame)
    return ErrorOf(*message, result);
  absl::Status status = Renumber(message);
  if (!status.ok()) return status;
  ready_.push_back(std::move(*message));
  return Flush();
}

absl::Status Importer::Finish() {
  const absl::Status status = Flush();
  return status.ok() ? link_.EndImport() : status;
}

}  // namespace holdfast
