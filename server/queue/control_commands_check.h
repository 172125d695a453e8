// `queue check`: all of the store is read and compared, on a thread of its own.
#ifndef HOLDFAST_SERVER_QUEUE_CONTROL_COMMANDS_CHECK_H_
#define HOLDFAST_SERVER_QUEUE_CONTROL_COMMANDS_CHECK_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/queue/control_command.h"
#include "server/queue/queue_services.h"
#include "storage/queue_store.h"

namespace holdfast {

// CheckQueue(), or a test's own.
using QueueChecker = absl::StatusOr<CheckSummary> (*)(
    QueueStore* store, absl::FunctionRef<void(absl::string_view)> problem,
    absl::AnyInvocable<void(uint64_t)> progress);

// Null: `words` are something else.
std::shared_ptr<ControlCommand> MakeCheckCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output, QueueChecker checker);

// Makes what is being checked say nothing more, and waits for its end: before
// the store or the loop goes.
void EndChecks();

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_CONTROL_COMMANDS_CHECK_H_
