// Connects to the Unix sockets of `lmtp` actions for `relay`, which sees no
// files.
#ifndef HOLDFAST_SERVER_PARENT_LMTP_CONNECTOR_H_
#define HOLDFAST_SERVER_PARENT_LMTP_CONNECTOR_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "config/config.h"
#include "server/door/door.h"
#include "server/door/parent_messages.h"

namespace holdfast {

// Answers that `relay` has not taken keep their descriptors open here; when
// there are about so many, further ones have an error.
inline constexpr size_t kMaxLmtpAnswers = 1024;

// Used on the loop's thread; connecting to a Unix socket does not wait: it
// succeeds or fails at once.
class LmtpConnector {
 public:
  explicit LmtpConnector(std::shared_ptr<const Config> config)
      : config_(std::move(config)) {}

  // Answers through `door`.  What is connected to is what the configuration
  // says of the action; `relay` can only name one.
  void OnQuestion(Door* door, const LmtpConnect& question) const;

  // A connected, non-blocking descriptor.  kPermissionDenied: this action has
  // no Unix socket; kUnavailable with the system's words.
  absl::StatusOr<OwnedFd> ConnectFor(const std::string& action) const;

 private:
  const std::shared_ptr<const Config> config_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_LMTP_CONNECTOR_H_
