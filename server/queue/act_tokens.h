// What operators were shown and may now do: each token stands for an act and
// the envelopes it was shown for, for a while, once, for the user who asked.
// One thread.
#ifndef HOLDFAST_SERVER_QUEUE_ACT_TOKENS_H_
#define HOLDFAST_SERVER_QUEUE_ACT_TOKENS_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/random/bit_gen_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/envelope_filter.h"
#include "protocol/ids.h"
#include "server/queue/envelope_act.h"

namespace holdfast {

// Envelopes of one act; of more that match these are done, and it is said.
inline constexpr size_t kMaxActEnvelopes = 1'000'000;
inline constexpr size_t kMaxActTokens = 16;
// Envelopes of all tokens together (8 octets each); the oldest go.
inline constexpr size_t kMaxTokenEnvelopes = kMaxActEnvelopes;
inline constexpr absl::Duration kActTokenLife = absl::Minutes(10);
// Acts looked for or done at a time.
inline constexpr int kMaxRunningActs = 2;

// Who acts: the credentials of the connection.
struct ActPeer {
  uid_t uid = 0;
  pid_t pid = 0;
};

// An act and what it is done to.
struct PlannedAct {
  EnvelopeAct act;
  std::string filter_text;
  EnvelopeFilter filter;
  std::vector<EnvelopeId> envelopes;  // sorted
};

class ActTokens {
 public:
  // The token; empty if it has too many envelopes.
  std::string Add(const ActPeer& peer, PlannedAct plan, absl::Time now,
                  absl::BitGenRef random);
  // What is left of what a token stood for, which it stands for again; as Add()
  // otherwise.
  void PutBack(const std::string& token, const ActPeer& peer, PlannedAct rest,
               absl::Time now);
  // What the token stands for, which is spent then.  Not ok, and not spent: it
  // is unknown, another user's or over, or stands for another act or filter.
  // `filter`: null, none was said again.
  absl::StatusOr<PlannedAct> Take(const std::string& token, const ActPeer& peer,
                                  EnvelopeAct::Kind kind,
                                  const std::string* filter, absl::Time now);
  size_t size() const { return tokens_.size(); }

  // Acts at work; false: there are enough.
  bool Begin() {
    if (running_ >= kMaxRunningActs) return false;
    ++running_;
    return true;
  }
  void End() { --running_; }

 private:
  struct Token {
    uid_t uid = 0;
    absl::Time until;
    uint64_t number = 0;  // in order of age
    PlannedAct plan;
  };
  // False: it has too many envelopes.
  bool MakeRoom(size_t envelopes, absl::Time now);
  void Forget(absl::Time now);
  void ForgetOldest();

  std::map<std::string, Token> tokens_;
  uint64_t next_number_ = 1;
  size_t envelopes_ = 0;
  int running_ = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_ACT_TOKENS_H_
