#include "ctl/spf/spf_command.h"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <iostream>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "ctl/control/whole_io.h"
#include "ctl/spf/spf_walk.h"
#include "ctl/spf/system_dns.h"

namespace holdfast {
namespace {

// Whose the processes on the network are: the first that exists.
constexpr const char* kUsers[] = {"_smtpn", "_smtpd"};

void Warn(absl::string_view text) {
  WriteAll(STDERR_FILENO, absl::StrCat("smtpctl: ", text, "\n"));
}

bool BecomeUnprivileged() {
  if (geteuid() != 0) return true;
  for (const char* user : kUsers) {
    const passwd* entry = getpwnam(user);
    if (entry == nullptr) continue;
    return setgroups(1, &entry->pw_gid) == 0 && setgid(entry->pw_gid) == 0 &&
           setuid(entry->pw_uid) == 0;
  }
  return false;
}

}  // namespace

int RunSpfWalk(const std::function<bool(absl::string_view)>& write) {
  SystemDns dns;  // reads resolv.conf
  if (!BecomeUnprivileged()) {
    Warn(absl::StrCat("can't become ", kUsers[1]));
    return 1;
  }
  bool wanted = true, whole = true;
  SpfWalk walk(
      &dns,
      [&](absl::string_view line) {
        wanted = wanted && write(absl::StrCat(line, "\n"));
      },
      Warn);
  std::string line;
  while (wanted && std::getline(std::cin, line)) {
    const std::string domain(absl::StripAsciiWhitespace(line));
    if (!domain.empty()) whole = walk.Walk(domain) && whole;
  }
  return wanted && whole ? 0 : 1;
}

}  // namespace holdfast
