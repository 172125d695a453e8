// For work that has time: listings, exports (sched(7), SCHED_IDLE).
#ifndef HOLDFAST_STORAGE_IDLE_PRIORITY_H_
#define HOLDFAST_STORAGE_IDLE_PRIORITY_H_

namespace holdfast {

// From now on this thread runs when no other wants the processor, or hardly:
// for good, since only root may take it back.  Nothing follows from a failure.
void RunAtIdlePriority();

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_IDLE_PRIORITY_H_
