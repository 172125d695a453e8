// What parent finds out about this machine at start.  All of it may block.
#ifndef HOLDFAST_SERVER_PARENT_SYSTEM_FACTS_H_
#define HOLDFAST_SERVER_PARENT_SYSTEM_FACTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace holdfast {

// No file that is read at start may be larger.
inline constexpr size_t kMaxFileBytes = 64 << 20;

// A regular file's contents.  The error's text is the system's.
absl::StatusOr<std::string> ReadWholeFile(const std::string& path);

// The first line of /etc/mailname, else the host name, made canonical if it
// has no dot and that can be resolved (reference part 1, section 5).
absl::StatusOr<std::string> FindServerName();

struct InterfaceAddress {
  std::string interface;
  std::string address;  // "192.0.2.1", "2001:db8::1"
  bool inet6 = false;
  uint32_t scope = 0;  // of a link-local one
};
std::vector<InterfaceAddress> FindInterfaceAddresses();

// The folder of this executable.
absl::StatusOr<std::string> FindOwnFolder();
// The first of `folders` that has an executable `name`; empty if none has.
std::string FindProgram(const std::string& name,
                        const std::vector<std::string>& folders);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_SYSTEM_FACTS_H_
