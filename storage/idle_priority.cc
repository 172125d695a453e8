#include "storage/idle_priority.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace holdfast {
namespace {

// linux/ioprio.h, which has no names for all of it: IOPRIO_WHO_PROCESS; the
// best-effort class, level 7.
constexpr int kThisThread = 1;
constexpr int kLastOfTheUsual = 2 << 13 | 7;

}  // namespace

void RunAtIdlePriority() {
  const sched_param none = {};
  sched_setscheduler(0, SCHED_IDLE, &none);
  // Idle processor time would make it idle disk time, too: what it reads would
  // wait behind all the others while its view of the queue is open.
  syscall(SYS_ioprio_set, kThisThread, 0, kLastOfTheUsual);
}

}  // namespace holdfast
