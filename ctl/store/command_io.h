// What the commands that move mail have in common.
#ifndef HOLDFAST_CTL_STORE_COMMAND_IO_H_
#define HOLDFAST_CTL_STORE_COMMAND_IO_H_

#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "ctl/control/whole_io.h"
#include "ctl/store/mail_source.h"
#include "ctl/store/move_commands.h"
#include "ctl/store/progress.h"
#include "ctl/store/queue_link.h"
#include "protocol/json_line.h"

namespace holdfast {

inline int Fail(absl::string_view text) {
  WriteAll(STDERR_FILENO, absl::StrCat("smtpctl: ", text, "\n"));
  return 1;
}
inline int Fail(const absl::Status& status) {
  return Fail(absl::string_view(status.message()));
}
inline void Say(absl::string_view text) {
  WriteAll(STDERR_FILENO, absl::StrCat(text, "\n"));
}

// The daemon's queue or, without a daemon, the store's.
struct LinkedQueue {
  std::unique_ptr<QueueStore> store;
  std::unique_ptr<QueueLink> link;
};

inline absl::StatusOr<LinkedQueue> OpenQueue(const std::string& socket,
                                             bool read_only, StoreOpener open) {
  LinkedQueue queue;
  absl::StatusOr<std::unique_ptr<QueueLink>> link = ConnectQueue(socket);
  if (link.ok()) {
    queue.link = *std::move(link);
    return queue;
  }
  if (!absl::IsUnavailable(link.status())) return link.status();
  absl::StatusOr<std::unique_ptr<QueueStore>> store = open(read_only);
  if (!store.ok()) return store.status();
  queue.store = *std::move(store);
  queue.link = LinkStore(queue.store.get());
  return queue;
}

// Passes mail on and counts it.
class CountedTaker : public MailTaker {
 public:
  CountedTaker(MailTaker* next, Progress* progress)
      : next_(*next), progress_(*progress) {}
  absl::Status Message(const ExportMessage& m) override {
    return next_.Message(m);
  }
  absl::Status Envelope(const ExportEnvelope& e) override {
    return next_.Envelope(e);
  }
  absl::Status Body(absl::string_view bytes) override {
    return next_.Body(bytes);
  }
  absl::Status EndMessage() override {
    progress_.Step();
    return next_.EndMessage();
  }

 private:
  MailTaker& next_;
  Progress& progress_;
};

// What a command has done: said to people on standard error or, with `--json`,
// one object (docs/JSON.md).
class Summary {
 public:
  // `fd`: where the object goes.
  Summary(bool json, int fd) : json_(json), fd_(fd) {}
  bool json() const { return json_; }
  void Tell(absl::string_view text, const Json& object) const {
    if (json_)
      WriteAll(fd_, JsonLine(object));
    else
      Say(text);
  }

 private:
  const bool json_;
  const int fd_;
};

// The commands; `words` behind "queue export" and so on, without `--json`.
int RunExport(const std::vector<std::string>& words, const std::string& socket,
              StoreOpener open, bool json);
int RunImport(const std::vector<std::string>& words, const std::string& socket,
              StoreOpener open, bool json);
int RunBackup(const std::vector<std::string>& words, const std::string& store,
              const std::string& socket, StoreOpener open, bool json);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_STORE_COMMAND_IO_H_
