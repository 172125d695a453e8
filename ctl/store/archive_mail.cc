#include "ctl/store/archive_mail.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ctl/store/archive_reader.h"
#include "ctl/store/transfer_json.h"

namespace holdfast {
namespace {

absl::Status Bad(const std::string& name, absl::string_view what) {
  return absl::DataLossError(absl::StrCat("archive: ", name, ": ", what));
}

class Walk {
 public:
  Walk(ArchiveReader* archive, MailTaker* taker)
      : archive_(*archive), taker_(*taker) {}

  absl::Status Run() {
    for (;;) {
      const auto entry = archive_.Next();
      if (!entry.ok()) return entry.status();
      if (!entry->has_value()) break;
      const absl::Status status = OnEntry(**entry);
      if (!status.ok()) return status;
    }
    return part_ == Part::kNothing ? absl::OkStatus()
                                   : Bad(NameOf(message_.id), "it has no body");
  }

 private:
  // What came last of a message.
  enum class Part { kNothing, kMessage, kEnvelope };

  static std::string NameOf(MessageId id) { return ToString(id); }

  absl::Status OnEntry(const ArchiveReader::Entry& entry) {
    switch (part_) {
      case Part::kNothing:
        return OnMessage(entry);
      case Part::kMessage:
        return OnEnvelope(entry);
      case Part::kEnvelope:
        break;
    }
    const std::string body =
        absl::StrCat("messages/", NameOf(message_.id), ".eml");
    return entry.name == body ? OnBody(entry) : OnEnvelope(entry);
  }

  absl::Status OnMessage(const ArchiveReader::Entry& entry) {
    const absl::StatusOr<std::string> text = archive_.ReadAll(kMaxTransferJson);
    if (!text.ok()) return text.status();
    absl::StatusOr<ExportMessage> message = MessageFromJson(*text);
    if (!message.ok())
      return Bad(entry.name, std::string(message.status().message()));
    message_ = *std::move(message);
    if (message_.id == MessageId{0} ||
        entry.name != absl::StrCat("messages/", NameOf(message_.id), ".json"))
      return Bad(entry.name, "it is not where it belongs");
    part_ = Part::kMessage;
    envelopes_ = 0;
    archive_.Count(1, 0);
    return taker_.Message(message_);
  }

  absl::Status OnEnvelope(const ArchiveReader::Entry& entry) {
    const absl::StatusOr<std::string> text = archive_.ReadAll(kMaxTransferJson);
    if (!text.ok()) return text.status();
    const absl::StatusOr<ExportEnvelope> envelope = EnvelopeFromJson(*text);
    if (!envelope.ok())
      return Bad(entry.name, std::string(envelope.status().message()));
    const EnvelopeId id = envelope->envelope.id;
    if (MessageOf(id) != message_.id ||
        entry.name != absl::StrCat("envelopes/", ToString(id), ".json"))
      return Bad(entry.name, "it is not where it belongs");
    if (++envelopes_ > kMaxImportEnvelopes)
      return Bad(entry.name, "the message has too many envelopes");
    part_ = Part::kEnvelope;
    archive_.Count(0, 1);
    return taker_.Envelope(*envelope);
  }

  absl::Status OnBody(const ArchiveReader::Entry& entry) {
    if (entry.size != message_.body.raw_bytes)
      return Bad(entry.name, "its size is not what its message says");
    std::string piece;
    for (;;) {
      const absl::StatusOr<bool> more = archive_.Read(&piece);
      if (!more.ok()) return more.status();
      if (!*more) break;
      const absl::Status status = taker_.Body(piece);
      if (!status.ok()) return status;
      piece.clear();
    }
    part_ = Part::kNothing;
    return taker_.EndMessage();
  }

  ArchiveReader& archive_;
  MailTaker& taker_;
  Part part_ = Part::kNothing;
  ExportMessage message_;
  size_t envelopes_ = 0;  // of it
};

}  // namespace

absl::StatusOr<ArchiveSummary> ReadArchive(int fd, MailTaker* taker) {
  if (lseek(fd, 0, SEEK_SET) != 0)
    return absl::InternalError(absl::StrCat("archive: ", strerror(errno)));
  ArchiveReader archive;
  absl::Status status = archive.Open(fd);
  if (status.ok()) status = Walk(&archive, taker).Run();
  if (!status.ok()) return status;
  return ArchiveSummary{archive.messages(), archive.envelopes(),
                        archive.manifest_digest()};
}

}  // namespace holdfast
