// Deliveries to a command (`mda`, "|command" of an alias or ~/.forward) and to
// a file of the user's ("/file"): reference part 1, sections 6.2, 6.4, 6.5.
#ifndef HOLDFAST_SERVER_AGENT_COMMAND_GROUP_H_
#define HOLDFAST_SERVER_AGENT_COMMAND_GROUP_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/agent/delivery_group.h"
#include "server/agent/run_command.h"
#include "storage/mailbox/mbox_format.h"
#include "storage/mailbox/spool_file.h"

namespace holdfast {

struct CommandOptions {
  std::string home;     // of the user we are
  std::string command;  // of the action; empty: it has none
  bool helper = false;  // `command` is a program of ours, with a path
  std::string wrapper;  // `mda wrapper`; empty: none
  char delimiter = '+';
  CommandLimits limits;
};

// What is delivered waits in an unlinked file: nothing runs and nothing is
// written before Commit(), which takes the letters one after the other.  Where
// commands take long, a group should hold one letter.
class CommandGroup : public DeliveryGroup {
 public:
  explicit CommandGroup(CommandOptions options)
      : options_(std::move(options)) {}

  void Begin(const AgentDelivery& delivery) override;
  void Write(absl::string_view bytes) override;
  void End() override;
  void Cancel() override;
  std::vector<AgentResults::One> Commit() override;

 private:
  struct Letter {
    AgentDelivery delivery;
    off_t offset = 0;  // in spool_
    off_t bytes = 0;
    absl::Status status;
  };

  void Spool(absl::string_view bytes);
  // Does it, and fills `one` but for its envelope.
  void Deliver(const Letter& letter, AgentResults::One* one);
  void Run(const Letter& letter, AgentResults::One* one);
  void AppendToFile(const Letter& letter, AgentResults::One* one);
  // What the shell is given; kInvalidArgument: it can't be expanded.
  absl::StatusOr<std::string> CommandLine(const AgentDelivery& delivery) const;

  const CommandOptions options_;
  std::unique_ptr<SpoolFile> spool_ = std::make_unique<SpoolFile>();
  std::unique_ptr<MboxEncoder> encoder_;  // of a letter for a file
  std::vector<Letter> letters_;
};

// The environment of a command, and all of it: "NAME=value".
std::vector<std::string> CommandEnvironment(const AgentDelivery& delivery,
                                            const std::string& home);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_AGENT_COMMAND_GROUP_H_
