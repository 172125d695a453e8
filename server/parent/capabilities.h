// What of root's powers parent keeps.
#ifndef HOLDFAST_SERVER_PARENT_CAPABILITIES_H_
#define HOLDFAST_SERVER_PARENT_CAPABILITIES_H_

#include "absl/status/status.h"

namespace holdfast {

// Gives up, for this process and all it starts, the capabilities that a mail
// server has no use for (modules, mounts, raw sockets, tracing, ...).  For
// root only.
absl::Status DropCapabilities();

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_CAPABILITIES_H_
