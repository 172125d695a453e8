// write(2) until all is written.
#ifndef HOLDFAST_CTL_CONTROL_WHOLE_IO_H_
#define HOLDFAST_CTL_CONTROL_WHOLE_IO_H_

#include <errno.h>
#include <unistd.h>

#include "absl/strings/string_view.h"

namespace holdfast {

// False: errno says why.
inline bool WriteAll(int fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

}  // namespace holdfast

#endif  // HOLDFAST_CTL_CONTROL_WHOLE_IO_H_
