#include "server/parent/capabilities.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

constexpr int kKept[] = {
    CAP_CHOWN,       CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH,
    CAP_FOWNER,      CAP_FSETID,       CAP_KILL,
    CAP_SETGID,      CAP_SETUID,       CAP_NET_BIND_SERVICE,
    CAP_LEASE,       CAP_SYS_CHROOT,   CAP_SYS_RESOURCE,
    CAP_AUDIT_WRITE,  // what PAM modules of smtpd-auth write
};

bool IsKept(int capability) {
  return std::find(std::begin(kKept), std::end(kKept), capability) !=
         std::end(kKept);
}

}  // namespace

absl::Status DropCapabilities() {
  // The bounding set first: it is what programs that root starts can have.
  // EINVAL: the kernel knows no such capability.
  for (int capability = 0; capability <= CAP_LAST_CAP; ++capability) {
    if (!IsKept(capability) &&
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 && errno != EINVAL)
      return absl::UnavailableError(
          absl::StrCat("capabilities: ", strerror(errno)));
  }
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) != 0)
    return absl::UnavailableError(
        absl::StrCat("capabilities: ", strerror(errno)));
  for (int capability = 0; capability < 64; ++capability) {
    if (IsKept(capability)) continue;
    const uint32_t bit = 1u << (capability % 32);
    data[capability / 32].effective &= ~bit;
    data[capability / 32].permitted &= ~bit;
    data[capability / 32].inheritable &= ~bit;
  }
  if (syscall(SYS_capset, &header, data) != 0)
    return absl::UnavailableError(
        absl::StrCat("capabilities: ", strerror(errno)));
  return absl::OkStatus();
}

}  // namespace holdfast
