// seccomp: which system calls a process may make.
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "server/sandbox/sandbox.h"

namespace holdfast {
namespace {

// Nothing any room does after its start needs these.
constexpr int kForbidden[] = {
    // Other programs and processes.
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(process_madvise),
    SCMP_SYS(kcmp),
    SCMP_SYS(move_pages),
    SCMP_SYS(migrate_pages),
    SCMP_SYS(pidfd_open),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(pidfd_send_signal),
    SCMP_SYS(tkill),
    SCMP_SYS(rt_sigqueueinfo),
    SCMP_SYS(rt_tgsigqueueinfo),
    SCMP_SYS(setpriority),
    SCMP_SYS(sched_setattr),
    SCMP_SYS(sched_setparam),
    // Files by their paths: owner, mode, length, times and links are not
    // Landlock's business, or not that of its first versions.
    SCMP_SYS(chmod),
    SCMP_SYS(fchmodat),
    SCMP_SYS(chown),
    SCMP_SYS(lchown),
    SCMP_SYS(fchownat),
    SCMP_SYS(truncate),
    SCMP_SYS(utime),
    SCMP_SYS(utimes),
    SCMP_SYS(futimesat),
    SCMP_SYS(utimensat),
    SCMP_SYS(setxattr),
    SCMP_SYS(lsetxattr),
    SCMP_SYS(removexattr),
    SCMP_SYS(lremovexattr),
    SCMP_SYS(link),
    SCMP_SYS(linkat),
    SCMP_SYS(symlink),
    SCMP_SYS(symlinkat),
    SCMP_SYS(mknod),
    SCMP_SYS(mknodat),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(name_to_handle_at),
    // The machine.
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(acct),
    SCMP_SYS(quotactl),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(personality),
};

// All families are below it.
constexpr scmp_datum_t kMostFamilies = 64;
// Arguments that the kernel takes as 32 bits must be compared as such.
constexpr scmp_datum_t kLow = 0xffffffff;

// ioprio_set(2): IOPRIO_WHO_PROCESS, and the last of the usual priorities,
// which is what a thread sets that works at idle priority
// (storage/idle_priority.cc).
constexpr scmp_datum_t kOneThread = 1;
constexpr scmp_datum_t kLastToRead = 2 << 13 | 7;

// seccomp(2): a kernel that has filters looks for this one, and finds none.
bool HasFilters() {
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, nullptr) == 0 ||
         errno == EFAULT;
}

class Filter {
 public:
  Filter() : filter_(seccomp_init(SCMP_ACT_ALLOW)) {
    // What the kernel says, not ECANCELED for all of it.
    seccomp_attr_set(filter_, SCMP_FLTATR_API_SYSRAWRC, 1);
  }
  ~Filter() { seccomp_release(filter_); }
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;

  void Refuse(int call, std::initializer_list<scmp_arg_cmp> when = {},
              int with = EPERM) {
    const int added = seccomp_rule_add_array(
        filter_, SCMP_ACT_ERRNO(static_cast<uint32_t>(with)), call,
        static_cast<unsigned>(when.size()), when.begin());
    if (added < 0 && error_ == 0) error_ = -added;
  }
  // What a call does by itself, unlike with the number in an argument.
  void RefuseValue(int call, unsigned argument, scmp_datum_t value) {
    Refuse(call, {SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, kLow, value)});
  }

  absl::Status Load() {
    if (error_ != 0)
      return absl::InternalError(
          absl::StrCat("seccomp_rule_add: ", strerror(error_)));
    const int loaded = seccomp_load(filter_);
    if (loaded < 0)
      return absl::InternalError(
          absl::StrCat("seccomp_load: ", strerror(-loaded)));
    return absl::OkStatus();
  }

 private:
  const scmp_filter_ctx filter_;
  int error_ = 0;
};

// A process may do these to itself only.
void RefuseOthers(Filter* filter) {
  const auto self = static_cast<scmp_datum_t>(getpid());
  filter->Refuse(SCMP_SYS(kill), {SCMP_A0(SCMP_CMP_NE, self)});
  filter->Refuse(SCMP_SYS(tgkill), {SCMP_A0(SCMP_CMP_NE, self)});
  filter->Refuse(SCMP_SYS(prlimit64), {SCMP_A0(SCMP_CMP_NE, 0)});
  // A thread may step behind the others.
  filter->Refuse(SCMP_SYS(sched_setscheduler), {SCMP_A0(SCMP_CMP_NE, 0)});
  filter->Refuse(SCMP_SYS(sched_setscheduler),
                 {SCMP_A1(SCMP_CMP_NE, SCHED_IDLE)});
  filter->Refuse(SCMP_SYS(ioprio_set), {SCMP_A0(SCMP_CMP_NE, kOneThread)});
  filter->Refuse(SCMP_SYS(ioprio_set), {SCMP_A1(SCMP_CMP_NE, 0)});
  filter->Refuse(SCMP_SYS(ioprio_set), {SCMP_A2(SCMP_CMP_NE, kLastToRead)});
  // Signals that the kernel is asked to send when a descriptor is ready.
  for (scmp_datum_t command : {F_SETOWN, F_SETSIG, F_SETOWN_EX})
    filter->RefuseValue(SCMP_SYS(fcntl), 1, command);
  for (scmp_datum_t request : {FIOSETOWN, SIOCSPGRP, TIOCSTI, TIOCLINUX})
    filter->RefuseValue(SCMP_SYS(ioctl), 1, request);
}

// Threads, no processes.  What clone3 is to do cannot be seen from here; the C
// library takes clone where the kernel does not know it.
void RefuseProcesses(Filter* filter) {
  filter->Refuse(SCMP_SYS(clone3), {}, ENOSYS);
  filter->Refuse(SCMP_SYS(clone),
                 {SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0)});
}

void RefuseSockets(Filter* filter, const SandboxRules& rules) {
  for (scmp_datum_t family = 0; family < kMostFamilies; ++family) {
    const bool internet = family == AF_INET || family == AF_INET6;
    if ((internet && rules.internet) || (family == AF_UNIX && rules.local))
      continue;
    filter->Refuse(SCMP_SYS(socket), {SCMP_A0(SCMP_CMP_EQ, family)});
  }
  filter->Refuse(SCMP_SYS(socket), {SCMP_A0(SCMP_CMP_GE, kMostFamilies)});
  filter->Refuse(SCMP_SYS(listen));
}

}  // namespace

absl::StatusOr<bool> RestrictCalls(const SandboxRules& rules) {
  if (!HasFilters()) return false;
  Filter filter;
  for (int call : kForbidden) filter.Refuse(call);
  RefuseOthers(&filter);
  RefuseProcesses(&filter);
  RefuseSockets(&filter, rules);
  if (absl::Status s = filter.Load(); !s.ok()) return s;
  return true;
}

}  // namespace holdfast
