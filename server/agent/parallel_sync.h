// Many files made durable at once.
#ifndef HOLDFAST_SERVER_AGENT_PARALLEL_SYNC_H_
#define HOLDFAST_SERVER_AGENT_PARALLEL_SYNC_H_

#include <vector>

namespace holdfast {

// fsync(2) of every descriptor, by up to 8 threads, so that the file system's
// journal takes them in few commits.  Returns an errno (0: on stable storage)
// for each, in order.  Blocks until all are done.
std::vector<int> SyncAll(const std::vector<int>& fds);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_AGENT_PARALLEL_SYNC_H_
