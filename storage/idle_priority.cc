#include "storage/idle_priority.h"

#include <sched.h>

namespace holdfast {

void RunAtIdlePriority() {
  const sched_param none = {};
  sched_setscheduler(0, SCHED_IDLE, &none);
}

}  // namespace holdfast
