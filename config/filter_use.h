// Which of the filters there are mail passes through.
#ifndef HOLDFAST_CONFIG_FILTER_USE_H_
#define HOLDFAST_CONFIG_FILTER_USE_H_

#include <set>
#include <string>

#include "config/config.h"

namespace holdfast {

// Names of filters that a listener or a relay action names, and of those in
// their chains.
std::set<std::string> FiltersInUse(const Config& config);

// The programs of these: names in Config::processors.
std::set<std::string> ProcessorsInUse(const Config& config);

// The folder of `filters`, 0700 and _smtpq's: for messages on their way through
// milters.
std::string FilterFolder(const SpoolPaths& paths);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_FILTER_USE_H_
