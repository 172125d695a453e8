#include "ctl/store/exporter.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "ctl/store/transfer_json.h"
#include "protocol/wire.h"

namespace holdfast {
namespace {

constexpr size_t kPiece = 64 << 10;

absl::Status Bad() {
  return absl::DataLossError("what the queue sent is no export");
}

}  // namespace

absl::Status ExportReader::Take(const std::string& piece) {
  frames_.Append(piece);
  for (;;) {
    const auto frame = frames_.Next();
    if (!frame.ok()) return frame.status();
    if (!frame->has_value()) return absl::OkStatus();
    const absl::Status status = OnFrame(**frame);
    if (!status.ok()) return status;
  }
}

absl::Status ExportReader::End() const {
  if (!end_ || body_ || end_->messages != messages_ ||
      end_->envelopes != envelopes_)
    return absl::DataLossError("the export is not whole");
  return absl::OkStatus();
}

absl::Status ExportReader::OnFrame(const ControlFrame& frame) {
  if (end_) return Bad();
  if (frame.type == ExportBegin::kType) {
    const auto begin = Decode<ExportBegin>(frame.payload);
    if (!begin.ok()) return Bad();
    begin_ = *begin;
    return on_begin ? on_begin(begin_) : absl::OkStatus();
  }
  if (frame.type == ExportMessage::kType) {
    const auto message = Decode<ExportMessage>(frame.payload);
    return message.ok() && !body_ ? OnMessage(*message) : Bad();
  }
  if (frame.type == ExportEnvelope::kType) {
    const auto envelope = Decode<ExportEnvelope>(frame.payload);
    if (!envelope.ok() || !body_) return Bad();
    ++envelopes_;
    return taker_.Envelope(*envelope);
  }
  if (frame.type == ExportChunk::kType) {
    auto chunk = Decode<ExportChunk>(frame.payload);
    return chunk.ok() && body_ ? OnChunk(*std::move(chunk)) : Bad();
  }
  if (frame.type != ExportEnd::kType) return Bad();
  const auto end = Decode<ExportEnd>(frame.payload);
  if (!end.ok()) return Bad();
  end_ = *end;
  return absl::OkStatus();
}

absl::Status ExportReader::OnMessage(const ExportMessage& message) {
  ++messages_;
  body_.emplace(message.body);
  return taker_.Message(message);
}

absl::Status ExportReader::OnChunk(ExportChunk chunk) {
  // The first step asks for the first chunk; then each ends by asking again.
  std::string text;
  if (body_->chunks_fed() == 0) {
    const auto first = body_->Read(kPiece, &text);
    if (!first.ok()) return first.status();
  }
  body_->Feed(std::move(chunk.bytes));
  for (;;) {
    const auto progress = body_->Read(kPiece, &text);
    if (!progress.ok()) return progress.status();
    absl::Status status = taker_.Body(text);
    text.clear();
    if (!status.ok()) return status;
    if (*progress == BodyDecompressor::kMore) continue;
    if (*progress == BodyDecompressor::kNeedsChunk) return status;
    body_.reset();
    return taker_.EndMessage();
  }
}

// ---- Into an archive

absl::Status ArchiveTaker::Message(const ExportMessage& message) {
  message_ = message;
  in_body_ = false;
  return archive_.Add(absl::StrCat("messages/", ToString(message.id), ".json"),
                      ToJson(message));
}

absl::Status ArchiveTaker::Envelope(const ExportEnvelope& envelope) {
  return archive_.Add(
      absl::StrCat("envelopes/", ToString(envelope.envelope.id), ".json"),
      ToJson(envelope));
}

absl::Status ArchiveTaker::BeginBody() {
  if (std::exchange(in_body_, true)) return absl::OkStatus();
  return archive_.Begin(
      absl::StrCat("messages/", ToString(message_.id), ".eml"),
      message_.body.raw_bytes);
}

absl::Status ArchiveTaker::Body(absl::string_view bytes) {
  const absl::Status status = BeginBody();
  return status.ok() ? archive_.Data(bytes) : status;
}

absl::Status ArchiveTaker::EndMessage() {
  const absl::Status status = BeginBody();
  return status.ok() ? archive_.End() : status;
}

std::string AboutText(const ExportBegin& begin) {
  return absl::StrCat(
      "{\"format\": \"holdfast-queue-export\", \"version\": 1, \"store\": \"",
      absl::StrFormat("%016x", begin.store), "\", \"taken\": \"",
      absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", begin.taken,
                       absl::UTCTimeZone()),
      "\", \"messages\": ", begin.messages,
      ", \"envelopes\": ", begin.envelopes, ", \"queued\": ", begin.queued,
      "}\n");
}

}  // namespace holdfast
