// What hosts said last, by destination domain: `smtpctl show hoststats`
// (reference part 2, section 3.10).  Bounded; forgotten after four hours. Pure;
// one thread.
#ifndef HOLDFAST_SERVER_QUEUE_HOST_STATS_H_
#define HOLDFAST_SERVER_QUEUE_HOST_STATS_H_

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace holdfast {

class HostStats {
 public:
  static constexpr absl::Duration kLife = absl::Hours(4);
  // Domains; the one not heard of for longest goes first.
  static constexpr size_t kMaxDomains = 10000;
  // Octets of a text that are kept.
  static constexpr size_t kMaxText = 512;

  // `domain` in any case; nothing is noted of an empty one.
  void Note(absl::string_view domain, absl::string_view status, absl::Time now);

  // "<domain>|<epoch>|<status>", sorted by domain, escaped.
  std::vector<std::string> Lines(absl::Time now);

  size_t size() const { return stats_.size(); }

 private:
  void Forget(absl::Time now);

  struct Stat {
    absl::Time when;
    std::string status;
  };
  std::map<std::string, Stat> stats_;
  std::set<std::pair<absl::Time, std::string>> by_time_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_HOST_STATS_H_
