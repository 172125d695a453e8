// Where a relay action sends a batch: to the MX of the recipients' domain, to a
// smarthost of its `host` table (smarthosts.h), or to the one that its `domain`
// table names (reference part 2, section 3.2).  Looked up when the batch goes,
// not when the mail came: a reload and `update table` work on queued mail.
//
// Warnings go to the log.  One thread.
#ifndef HOLDFAST_SERVER_QUEUE_NEXT_HOPS_H_
#define HOLDFAST_SERVER_QUEUE_NEXT_HOPS_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "protocol/ids.h"
#include "server/door/worker_messages.h"
#include "server/queue/program_hops.h"
#include "server/queue/smarthosts.h"

namespace holdfast {

class NextHops {
 public:
  // Both outlive it.  `programs` may be null: then no program can be asked.
  NextHops(const Config* config, ProgramHops* programs);

  struct Batch {
    EnvelopeId first{};       // names the batch in the log
    std::string domain;       // of the recipients
    std::string backup_name;  // `backup`: our name among the MX; empty: not
    size_t messages = 1;
    DestinationId destination{};
  };
  // kUnavailable: the program of a table is being asked, and the destination
  // will be woken; or it could not answer now (ProgramHops::kErrorGrace).  Else
  // not ok: there is none; the message is the error line
  // ("Cannot retrieve smarthost").
  absl::StatusOr<RelayTarget> TargetOf(const Action& action, const Batch& batch,
                                       absl::Duration now);

  // To the relay URL that an operator has named for it.
  static absl::StatusOr<RelayTarget> Named(const Action& action,
                                           const std::string& url);

  // What became of a batch that TargetOf() gave a URL of a `host` table; as
  // Smarthosts.  `action` by name; nothing happens when it is gone.
  bool OnFailed(const std::string& action, const std::string& url,
                absl::Duration now);
  void OnWorks(const std::string& action, const std::string& url);
  void OnUntried(const std::string& action, const std::string& url);
  // An operator wants an attempt now.
  void ForgetRests() { smarthosts_.ForgetRests(); }

 private:
  absl::StatusOr<std::string> FromHost(const Action& action, const Batch& batch,
                                       absl::Duration now);
  absl::StatusOr<std::string> FromDomain(const Action& action,
                                         const Batch& batch) const;
  absl::StatusOr<std::string> FromProgram(const Action& action,
                                          const Batch& batch) const;
  // The action, if it has a `host` table.
  const Action* WithHost(const std::string& action) const;

  const Config& config_;
  ProgramHops* const programs_;
  Smarthosts smarthosts_;
};

// A routing key that names the next hop itself, not the recipients' domain
// (ActOnEnvelope::routing_key).
inline bool IsNextHop(absl::string_view routing_key) {
  return routing_key.find("://") != absl::string_view::npos;
}

// Whether the action can send to this URL at all; the message is the error
// line.  Warns.
absl::Status CheckRelayUrl(const Action& action, const std::string& url);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_NEXT_HOPS_H_
