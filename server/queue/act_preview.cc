#include "server/queue/act_preview.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/vis.h"
#include "server/queue/control_commands_queue_act.h"

namespace holdfast {

bool ActPreview::Add(const EnvelopeAct& act, const EnvelopeFacts& facts) {
  if (!CanAct(act, facts.envelope)) {
    ++impossible_;
    return true;
  }
  if (ids_.size() == kMaxActEnvelopes) {
    cut_ = true;
    return false;
  }
  ids_.push_back(facts.envelope.id);
  auto group = groups_.find(facts.destination);
  if (group == groups_.end() && groups_.size() < kMaxActGroups)
    group = groups_.try_emplace(facts.destination).first;
  for (Group* g : {group == groups_.end() ? &others_ : &group->second, &all_}) {
    ++g->count;
    g->bytes += facts.size;
  }
  return true;
}

std::vector<EnvelopeId> ActPreview::TakeEnvelopes() {
  std::sort(ids_.begin(), ids_.end());
  ids_.erase(std::unique(ids_.begin(), ids_.end()), ids_.end());
  count_ = ids_.size();
  return std::move(ids_);
}

std::string ActPreview::Text(const EnvelopeAct& act) const {
  auto counts = [](uint64_t count, uint64_t bytes) {
    return absl::StrCat(count, count == 1 ? " envelope, " : " envelopes, ",
                        bytes, " octets");
  };
  std::string text = absl::StrCat(VisEncode(ActText(act)), ": ",
                                  counts(count_, all_.bytes), "\n");
  std::vector<std::pair<std::string, Group>> sorted(groups_.begin(),
                                                    groups_.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) {
                     return a.second.count > b.second.count;
                   });
  Group rest = others_;
  for (size_t i = 0; i < sorted.size(); ++i) {
    const Group& g = sorted[i].second;
    if (i < kMaxActGroupsShown) {
      absl::StrAppend(&text, "    ", VisEncode(sorted[i].first), ": ",
                      counts(g.count, g.bytes), "\n");
      continue;
    }
    rest.count += g.count;
    rest.bytes += g.bytes;
  }
  if (rest.count > 0)
    absl::StrAppend(&text,
                    "    other destinations: ", counts(rest.count, rest.bytes),
                    "\n");
  if (impossible_ > 0)
    absl::StrAppend(&text, "not possible, left alone: ", impossible_,
                    impossible_ == 1 ? " envelope\n" : " envelopes\n");
  if (cut_)
    absl::StrAppend(&text, "more match than one act takes (", kMaxActEnvelopes,
                    "): repeat it for the rest\n");
  return text;
}

}  // namespace holdfast
