#include "ctl/delivery/helper_exit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "protocol/vis.h"

namespace holdfast {

int Complain(absl::string_view program, absl::string_view text, int status) {
  fprintf(stderr, "%s: %s\n", std::string(program).c_str(),
          VisEncode(text).c_str());
  return status;
}

bool IsRoot(absl::string_view program) {
  if (geteuid() != 0) return false;
  Complain(program, absl::StrCat(program, ": may not be executed as root"), 0);
  return true;
}

absl::Status ReadAll(int fd,
                     absl::FunctionRef<absl::Status(absl::string_view)> take) {
  std::string bytes(64 << 10, '\0');
  for (;;) {
    const ssize_t n = read(fd, &bytes[0], bytes.size());
    if (n == 0) return absl::OkStatus();
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      return absl::UnavailableError(absl::StrCat("input: ", strerror(errno)));
    absl::Status taken =
        take(absl::string_view(bytes.data(), static_cast<size_t>(n)));
    if (!taken.ok()) return taken;
  }
}

std::string Environment(const char* name) {
  const char* const value = getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace holdfast
