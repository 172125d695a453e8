// A command of smtpctl at work in the daemon (reference part 2, section 5.2).
#ifndef HOLDFAST_SERVER_QUEUE_CONTROL_COMMAND_H_
#define HOLDFAST_SERVER_QUEUE_CONTROL_COMMAND_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "protocol/control_messages.h"
#include "server/queue/queue_services.h"

namespace holdfast {

struct ActPeer;

// Where a command's output goes: a connection.  After Text() the client has to
// ask for more before the next piece may come.
class ControlOutput {
 public:
  virtual ~ControlOutput() = default;
  // Whole lines, at most kMaxControlText bytes.  Only with credit, which it
  // takes.
  virtual void Text(std::string text) = 0;
  // The end; the command is dropped in a later turn and says nothing more.
  virtual void Done(ControlDone done) = 0;
};

inline constexpr size_t kMaxControlText = 1 << 20;

// Used on the loop's thread.  Dropped when it is done or its client is gone;
// what it still waits for must not find it then (weak pointers).
class ControlCommand {
 public:
  virtual ~ControlCommand() = default;
  // There is credit for one piece: first at the start, then after each
  // ControlMore.
  virtual void OnCredit() = 0;
  // Longest ControlData it takes; 0: none.
  virtual size_t MaxData() const { return 0; }
  // One came; the answer's Text() has credit.  False: a breach of the protocol.
  virtual bool OnData(const std::string& /*bytes*/) { return false; }
};

// Makes the command `words` mean, exactly as smtpctl resolved them; null: no
// such command.  Makers of the groups of commands; `output` outlives the
// command.
using ControlCommandMaker = std::shared_ptr<ControlCommand> (*)(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output);

std::shared_ptr<ControlCommand> MakeListCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output);
std::shared_ptr<ControlCommand> MakeActCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output);
std::shared_ptr<ControlCommand> MakeStateCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output);
std::shared_ptr<ControlCommand> MakeMonitorCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output);
std::shared_ptr<ControlCommand> MakeTopCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output);
std::shared_ptr<ControlCommand> MakeExplainCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output);
std::shared_ptr<ControlCommand> MakeMtaCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output);
std::shared_ptr<ControlCommand> MakeTableCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output);
std::shared_ptr<ControlCommand> MakeRekeyCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output);
// What smtpctl-store asks for exports and imports.
std::shared_ptr<ControlCommand> MakeExportCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output, const ActPeer& peer);
std::shared_ptr<ControlCommand> MakeImportCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output);
// A command that has its whole answer at once.
std::shared_ptr<ControlCommand> MakeAnswer(ControlOutput* output,
                                           std::string text, ControlDone done);
// The same with nothing but an error.
std::shared_ptr<ControlCommand> MakeRefusal(ControlOutput* output,
                                            absl::string_view error);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_CONTROL_COMMAND_H_
