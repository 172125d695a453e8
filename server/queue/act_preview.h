// What an act would be done to: gathered while the queue is walked, and shown.
#ifndef HOLDFAST_SERVER_QUEUE_ACT_PREVIEW_H_
#define HOLDFAST_SERVER_QUEUE_ACT_PREVIEW_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "protocol/envelope_fields.h"
#include "protocol/json_line.h"
#include "server/queue/act_tokens.h"

namespace holdfast {

class ActPreview {
 public:
  // False: kMaxActEnvelopes are there.
  bool Add(const EnvelopeAct& act, const EnvelopeFacts& facts,
           const Config& config);
  // Sorted, each once.  Afterwards nothing is to be added.
  std::vector<EnvelopeId> TakeEnvelopes();
  uint64_t count() const { return count_; }
  bool cut() const { return cut_; }

  // "remove: 12 envelopes, 34567 octets" and a line for each of the largest
  // destinations; what else is to be said.
  std::string Text(const EnvelopeAct& act) const;
  // The same as JSON.
  Json AsJson(const EnvelopeAct& act) const;

 private:
  struct Group {
    uint64_t count = 0, bytes = 0;
  };
  using NamedGroup = std::pair<std::string, Group>;

  // The largest groups, and all others together.
  std::pair<std::vector<NamedGroup>, Group> Largest() const;

  std::vector<EnvelopeId> ids_;
  std::map<std::string, Group> groups_;
  Group others_, all_;
  uint64_t count_ = 0;
  uint64_t impossible_ = 0;
  bool cut_ = false;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_ACT_PREVIEW_H_
