// `smtpctl spf walk`: domains from standard input, one a line.
#ifndef HOLDFAST_CTL_SPF_SPF_COMMAND_H_
#define HOLDFAST_CTL_SPF_SPF_COMMAND_H_

#include <functional>

#include "absl/strings/string_view.h"

namespace holdfast {

// Gives each network to `write` as a line (false: no more is wanted), warnings
// to standard error.  Started by root it becomes a user without rights first.
// The exit status.  Blocks.
int RunSpfWalk(const std::function<bool(absl::string_view)>& write);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_SPF_SPF_COMMAND_H_
