#include "config/config.h"

#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace holdfast {

MtaLimits MtaLimits::Reference() {
  MtaLimits limits;
  limits.max_conn_per_host = 10;
  limits.max_conn_per_route = 5;
  limits.conn_delay_route = 5;
  limits.conn_delay_relay = 2;
  limits.reconn_delay_route = 3;
  limits.session_mail_max = 100;
  return limits;
}

absl::Duration MdaLimits::CommandTimeout() const {
  constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();
  return command_timeout == 0 || command_timeout == kNone
             ? absl::InfiniteDuration()
             : absl::Seconds(command_timeout);
}

const MtaLimits& Config::LimitsFor(absl::string_view domain) const {
  if (mta_domain_limits.empty()) return mta_limits;
  const auto found = mta_domain_limits.find(absl::AsciiStrToLower(domain));
  return found == mta_domain_limits.end() ? mta_limits : found->second;
}

SpoolPaths PathsBelow(absl::string_view spool) {
  SpoolPaths paths;
  paths.root = spool.empty() ? "/var/spool/smtpd" : std::string(spool);
  while (paths.root.size() > 1 && paths.root.back() == '/') {
    paths.root.pop_back();
  }
  const std::string run = spool.empty() ? "/var/run" : paths.root;
  paths.store = absl::StrCat(paths.root, "/store");
  paths.offline = absl::StrCat(paths.root, "/offline");
  paths.control_socket = absl::StrCat(run, "/smtpd.sock");
  paths.enqueue_socket = absl::StrCat(run, "/smtpd-enqueue.sock");
  paths.pid_file = absl::StrCat(run, "/smtpd.pid");
  return paths;
}

}  // namespace holdfast
