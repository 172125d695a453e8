// Mail that comes in to be imported, message by message.
#ifndef HOLDFAST_CTL_STORE_MAIL_SOURCE_H_
#define HOLDFAST_CTL_STORE_MAIL_SOURCE_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "protocol/queue_transfer.h"

namespace holdfast {

// Who takes it: for each message Message(), Envelope() once or more, Body()
// with its octets as they come, EndMessage().  An error ends all.
class MailTaker {
 public:
  virtual ~MailTaker() = default;
  // Of `message.body` only raw_bytes is known.
  virtual absl::Status Message(const ExportMessage& message) = 0;
  virtual absl::Status Envelope(const ExportEnvelope& envelope) = 0;
  virtual absl::Status Body(absl::string_view bytes) = 0;
  virtual absl::Status EndMessage() = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_STORE_MAIL_SOURCE_H_
