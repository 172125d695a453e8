// What an operator does to many envelopes at once (smtpctl queue remove, hold,
// release, schedule, expire, bounce, reroute, set): as values, and in words.
#ifndef HOLDFAST_SERVER_QUEUE_ENVELOPE_ACT_H_
#define HOLDFAST_SERVER_QUEUE_ENVELOPE_ACT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "protocol/envelope.h"

namespace holdfast {

struct EnvelopeAct {
  enum class Kind : uint8_t {
    kRemove,    // it goes, nobody is told
    kHold,      // not tried until released
    kRelease,   // what is held or paused goes on
    kSchedule,  // tried now
    kExpire,    // ends as if its time were over, with a report
    kBounce,    // ends as undeliverable, with a report that says `text`
    kReroute,   // another action, or another next hop
    kSet,       // priority or expiry
  } kind = Kind::kRemove;
  std::string text;  // kBounce
  // kReroute: an action of the configuration, or the relay URL of the next hop;
  // one of the two.
  std::string action;
  bool local = false;  // the action delivers on this host
  std::string next_hop;
  // kSet: one of them.
  std::optional<int8_t> priority;
  std::optional<absl::Duration> expires_in;  // from now
  std::optional<absl::Duration> ttl;         // from when it came, or its hold
};

inline constexpr size_t kMaxBounceText = 512;
inline constexpr int kMaxPriority = 9;  // of either sign (RFC 6710)
inline constexpr absl::Duration kMaxLife = absl::Hours(24 * 365);

// A request: "remove", options and a filter.
//
//   remove [--json] [--yes | --token TOKEN] (all | FILTER)
//   bounce [--text TEXT] ...
//   reroute --to ACTION|HOST|URL ...
//   set FIELD VALUE ...
//
// Options come before the filter; `--json` may also be the last word.
struct ActRequest {
  EnvelopeAct act;
  std::string filter;  // empty: all
  bool filter_given = false;
  bool yes = false;
  bool progress = false;  // the client is a terminal
  bool json = false;
  std::string token;  // empty: none
};

// `words` without "queue".  kInvalidArgument says what is wrong and what could
// stand there.
absl::StatusOr<ActRequest> ParseActRequest(
    const std::vector<std::string>& words, const Config& config);

// "remove", ..., "reroute", "set"; and back.
absl::string_view ActWord(EnvelopeAct::Kind kind);
std::optional<EnvelopeAct::Kind> FindAct(absl::string_view word);
// What became of them: "removed".
absl::string_view DoneWord(EnvelopeAct::Kind kind);
// The act with its arguments, in one line: "set priority 3", `bounce --text
// "no such user"`.  Two acts are the same if these are.
std::string ActText(const EnvelopeAct& act);

// Whether it makes sense for this envelope at all: mail for another host can't
// be delivered here without having been expanded; a next hop is for mail whose
// action relays, and is in the configuration.
bool CanAct(const EnvelopeAct& act, const Envelope& envelope,
            const Config& config);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_ENVELOPE_ACT_H_
