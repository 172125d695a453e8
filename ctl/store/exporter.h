// Writes the stream of an export as an archive.
#ifndef HOLDFAST_CTL_STORE_EXPORTER_H_
#define HOLDFAST_CTL_STORE_EXPORTER_H_

#include <optional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "ctl/store/archive_writer.h"
#include "ctl/store/mail_source.h"
#include "protocol/control_frames.h"
#include "protocol/queue_transfer.h"
#include "storage/body_codec.h"

namespace holdfast {

// Takes the stream apart: frames in pieces, as they come.
class ExportReader {
 public:
  // `taker` outlives it.
  explicit ExportReader(MailTaker* taker) : taker_(*taker) {}

  // kDataLoss: not what an export is, or a body that is damaged.
  absl::Status Take(const std::string& piece);
  // After the stream: kDataLoss if it was not whole.
  absl::Status End() const;

  const ExportBegin& begin() const { return begin_; }
  uint64_t messages() const { return messages_; }
  uint64_t envelopes() const { return envelopes_; }
  // The end has come.
  bool ended() const { return end_.has_value(); }
  uint64_t damaged() const { return end_ ? end_->damaged : 0; }
  // Called when the beginning is known.
  absl::AnyInvocable<absl::Status(const ExportBegin&)> on_begin;

 private:
  absl::Status OnFrame(const ControlFrame& frame);
  absl::Status OnMessage(const ExportMessage& message);
  absl::Status OnChunk(ExportChunk chunk);

  MailTaker& taker_;
  ControlFrames frames_{kMaxExportFrame};
  ExportBegin begin_;
  std::optional<BodyDecompressor> body_;  // of the message now
  uint64_t messages_ = 0, envelopes_ = 0;
  std::optional<ExportEnd> end_;
};

// Writes what it takes into an archive.
class ArchiveTaker : public MailTaker {
 public:
  explicit ArchiveTaker(ArchiveWriter* archive) : archive_(*archive) {}

  absl::Status Message(const ExportMessage& message) override;
  absl::Status Envelope(const ExportEnvelope& envelope) override;
  absl::Status Body(absl::string_view bytes) override;
  absl::Status EndMessage() override;

 private:
  absl::Status BeginBody();

  ArchiveWriter& archive_;
  ExportMessage message_;
  bool in_body_ = false;
};

// The entry that says what the archive is; not in its manifest.
std::string AboutText(const ExportBegin& begin);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_STORE_EXPORTER_H_
