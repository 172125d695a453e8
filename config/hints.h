// What is said below an error, to help; with NearMiss().
#ifndef HOLDFAST_CONFIG_HINTS_H_
#define HOLDFAST_CONFIG_HINTS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "protocol/near_miss.h"

namespace holdfast {

// `text` without what would disturb a terminal: "\x1b" for such octets.
std::string Printable(absl::string_view text);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_HINTS_H_
