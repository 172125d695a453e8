// queue export, queue import, queue backup: mail out of a queue and into one,
// whether the daemon runs or not.
#ifndef HOLDFAST_CTL_STORE_MOVE_COMMANDS_H_
#define HOLDFAST_CTL_STORE_MOVE_COMMANDS_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "ctl/store/importer.h"
#include "ctl/store/mail_source.h"
#include "storage/queue_store.h"

namespace holdfast {

// Opens the store itself, as its owner; for reading only or not.
using StoreOpener =
    absl::FunctionRef<absl::StatusOr<std::unique_ptr<QueueStore>>(
        bool read_only)>;

// Whether `words` are one of these commands.
bool IsMoveCommand(const std::vector<std::string>& words);

// Runs it; the exit status.  `store` is the store's folder, `socket` the
// control socket; `open` is called if nobody listens there.
int RunMoveCommand(const std::vector<std::string>& words,
                   const std::string& store, const std::string& socket,
                   StoreOpener open);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_STORE_MOVE_COMMANDS_H_
