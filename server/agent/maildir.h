// Deliveries into Maildirs: written in tmp/, synced, renamed into new/, the
// folder synced, and only then "delivered" (promises P1, P3).
#ifndef HOLDFAST_SERVER_AGENT_MAILDIR_H_
#define HOLDFAST_SERVER_AGENT_MAILDIR_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "protocol/header_watch.h"
#include "server/agent/delivery_group.h"
#include "server/door/door.h"
#include "storage/mailbox/maildir_folder.h"

namespace holdfast {

class MaildirGroup : public DeliveryGroup {
 public:
  // `home`: for deliveries without a path.  Runs as the owner of the mail.
  explicit MaildirGroup(std::string home) : home_(std::move(home)) {}
  ~MaildirGroup() override;

  void Begin(const AgentDelivery& delivery) override;
  void Write(absl::string_view bytes) override;
  void End() override;
  void Cancel() override;
  std::vector<AgentResults::One> Commit() override;

 private:
  // One delivery's file: open until it is synced, in tmp/ until it is renamed.
  struct File {
    AgentDelivery delivery;
    MaildirFolder* base = nullptr;    // the Maildir itself
    MaildirFolder* folder = nullptr;  // where it is written: base or .EXT
    OwnedFd fd;
    uint64_t bytes = 0;
    bool synced = false;
    bool in_tmp = false;
    bool spam = false;  // the header says so
    std::unique_ptr<HeaderWatch> header;
    absl::Status status;  // why it failed, if it did
    bool in_doubt = false;
  };

  absl::Status Open(File* file);
  absl::Status CreateTemporary(File* file);
  void Fail(File* file, absl::Status status);
  // Syncs what was written and not yet synced, and closes it.
  void SyncWritten();
  absl::StatusOr<MaildirFolder*> OpenFolder(const std::string& path);
  // The folder `name` ("." and its name) below `base`, if it exists.
  MaildirFolder* FindSubfolder(MaildirFolder* base, const std::string& name);
  absl::StatusOr<MaildirFolder*> TargetFolder(File* file);
  void Place(File* file, std::vector<MaildirFolder*>* touched);
  // In doubt: whether an earlier attempt has put it there.  It is durable then.
  absl::StatusOr<bool> FoundEarlier(const File& file);

  const std::string home_;
  std::map<std::string, MaildirFolder> folders_;
  std::vector<File> files_;
  size_t unsynced_ = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_AGENT_MAILDIR_H_
