// Deliveries into a user's mbox in the system's mail folder.
#ifndef HOLDFAST_SERVER_AGENT_MBOX_H_
#define HOLDFAST_SERVER_AGENT_MBOX_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/agent/delivery_group.h"
#include "storage/mailbox/mbox_file.h"
#include "storage/mailbox/mbox_format.h"
#include "storage/mailbox/spool_file.h"

namespace holdfast {

// All deliveries of a group go into one file under one lock and one sync.
// They are kept in an unlinked temporary file until then, since nothing may be
// seen in the mailbox before Commit().
class MboxGroup : public DeliveryGroup {
 public:
  // Runs as the owner with the group of the mail folder.
  explicit MboxGroup(MboxOptions options) : options_(std::move(options)) {}

  void Begin(const AgentDelivery& delivery) override;
  void Write(absl::string_view bytes) override;
  void End() override;
  void Cancel() override;
  std::vector<AgentResults::One> Commit() override;

 private:
  struct Letter {
    EnvelopeId envelope{};
    std::string user;
    MboxLetter stored;  // in spool_
  };

  void Spool(const std::string& bytes);
  // Appends the letters of `user`.
  void Append(const std::string& user);

  const MboxOptions options_;
  std::unique_ptr<SpoolFile> spool_ = std::make_unique<SpoolFile>();
  std::unique_ptr<MboxEncoder> encoder_;
  std::vector<Letter> letters_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_AGENT_MBOX_H_
