// How many sessions `mta limit` allows towards where a destination's mail goes
// (reference part 2, section 3.5): one set of limits counts, that of the
// recipients' domain where MX are looked up, that of the smarthost's name where
// there is one.  What the program of a table will name is not known yet: there
// it is the recipients' domain, too.  Pure.
#ifndef HOLDFAST_SERVER_QUEUE_SESSION_LIMITS_H_
#define HOLDFAST_SERVER_QUEUE_SESSION_LIMITS_H_

#include <cstddef>
#include <string>

#include "config/config.h"

namespace holdfast {

// Smarthosts of a table that are counted.
inline constexpr size_t kMaxCountedHosts = 64;

// Of an action with several smarthosts the sum over them: each is a relay of
// its own.  At least 1.
size_t MaxSessionsTo(const Config& config, const Action& action,
                     const std::string& recipient_domain);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_SESSION_LIMITS_H_
