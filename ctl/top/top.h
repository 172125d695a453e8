// `smtpctl top [--once] [--json] [--limit N]`.
#ifndef HOLDFAST_CTL_TOP_TOP_H_
#define HOLDFAST_CTL_TOP_TOP_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace holdfast {

struct TopOptions {
  bool once = false;
  bool json = false;
  size_t limit = 100;  // destinations
};

// Of the words behind `top`; else what is wrong with them.
absl::StatusOr<TopOptions> ParseTopOptions(
    const std::vector<std::string>& words);

// Runs it; the exit status.  `socket` is the control socket's path, `program`
// stands before errors.  Full screen on a terminal, else one snapshot.
int RunTop(const std::vector<std::string>& words, const std::string& socket,
           absl::string_view program);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TOP_TOP_H_
