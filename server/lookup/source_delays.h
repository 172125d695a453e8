// Slows down who guesses passwords: after each failure the answers to a source
// (an IPv4 address, an IPv6 /64) come later.
//
// The first failure is answered after a second, then 2, 4, 8, 16 and at most 30
// seconds; each minute without a failure takes one step back.  A source that
// has failed may try a few times at once only, so that many connections do not
// help.  All sources are treated alike, loopback and the local socket too.
#ifndef HOLDFAST_SERVER_LOOKUP_SOURCE_DELAYS_H_
#define HOLDFAST_SERVER_LOOKUP_SOURCE_DELAYS_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace holdfast {

inline constexpr absl::Duration kFirstFailureDelay = absl::Seconds(1);
inline constexpr absl::Duration kMaxFailureDelay = absl::Seconds(30);
inline constexpr absl::Duration kFailureForgotten = absl::Minutes(1);
// Attempts of one source that are not answered yet: of one without failures,
// of one with, and of all together.
inline constexpr size_t kMaxOpenAttempts = 32;
inline constexpr size_t kMaxOpenAttemptsAfterFailure = 8;
inline constexpr size_t kMaxOpenAttemptsInAll = 5000;
// Sources that are remembered; the one that was seen longest ago goes first.
inline constexpr size_t kMaxRememberedSources = 20000;

// Times are EventLoop::Elapsed().
class SourceDelays {
 public:
  // The source that an address belongs to: "192.0.2.1", "2001:db8::/64";
  // brackets and "IPv6:" are left out.  What is no address: "local".
  static std::string SourceOf(absl::string_view address);

  // An attempt begins; false if the source has too many open (then nothing is
  // counted).  Each that has begun must End().
  bool Begin(const std::string& source, absl::Duration now);
  // It failed: how long its answer is to wait.
  absl::Duration Fail(const std::string& source, absl::Duration now);
  void End(const std::string& source);

  size_t remembered() const { return sources_.size(); }

 private:
  struct Source {
    uint32_t failures = 0;  // as of `last`
    absl::Duration last;    // failure, or step back
    size_t open = 0;
    std::list<std::string>::iterator place;  // in order_
  };

  Source* Touch(const std::string& source);
  static void StepBack(Source* source, absl::Duration now);

  absl::flat_hash_map<std::string, Source> sources_;
  std::list<std::string> order_;  // seen last at the end
  size_t open_ = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOKUP_SOURCE_DELAYS_H_
