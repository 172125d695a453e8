// The mail of an archive, in order, everything checked: names, JSON, sizes.
#ifndef HOLDFAST_CTL_STORE_ARCHIVE_MAIL_H_
#define HOLDFAST_CTL_STORE_ARCHIVE_MAIL_H_

#include <string>

#include "absl/status/statusor.h"
#include "ctl/store/mail_source.h"

namespace holdfast {

struct ArchiveSummary {
  uint64_t messages = 0, envelopes = 0;
  std::string manifest_digest;
};

// Reads it from the beginning of `fd` to its end.  A taker that is to change
// something must come after one that has only looked: the manifest stands last.
absl::StatusOr<ArchiveSummary> ReadArchive(int fd, MailTaker* taker);

// Takes all and does nothing.
class NoTaker : public MailTaker {
 public:
  absl::Status Message(const ExportMessage&) override { return {}; }
  absl::Status Envelope(const ExportEnvelope&) override { return {}; }
  absl::Status Body(absl::string_view) override { return {}; }
  absl::Status EndMessage() override { return {}; }
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_STORE_ARCHIVE_MAIL_H_
