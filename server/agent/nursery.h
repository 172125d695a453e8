// Agents without exec: a process of this program waits for what agents are to
// be, and forks each.  That costs a fourth of starting the program, most of
// which is the loader's work.
#ifndef HOLDFAST_SERVER_AGENT_NURSERY_H_
#define HOLDFAST_SERVER_AGENT_NURSERY_H_

#include <stdint.h>

#include <functional>
#include <string>
#include <vector>

namespace holdfast {

// Its only argument.
inline constexpr char kNurseryArgument[] = "--nursery";
// What it says once, when it is loaded.
inline constexpr int32_t kNurseryHello = 0;
// A request is the words of the agent's command line, each with a null byte
// behind it, and the descriptors that become its 3, 4, ...; the answer a pid_t,
// or an error number below zero.
inline constexpr size_t kMaxNurseryRequest = 64 << 10;
inline constexpr size_t kMaxNurseryFds = 4;

// Serves requests from `socket` until its peer is gone.  Each agent is a child
// of the process that started this one, which reaps it, and has nothing but its
// standard streams and its descriptors; it returns what `agent` returns, which
// is called with its words.
int RunNursery(
    int socket,
    const std::function<int(const std::vector<std::string>&)>& agent);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_AGENT_NURSERY_H_
