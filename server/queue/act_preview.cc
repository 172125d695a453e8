#include "server/queue/act_preview.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/vis.h"
#include "server/queue/control_commands_queue_act.h"

namespace holdfast {

bool ActPreview::Add(const EnvelopeAct& act, const EnvelopeFacts& facts,
                     const Config& config) {
  if (!CanAct(act, facts.envelope, config)) {
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

std::pair<std::vector<ActPreview::NamedGroup>, ActPreview::Group>
ActPreview::Largest() const {
  std::vector<NamedGroup> sorted(groups_.begin(), groups_.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const NamedGroup& a, const NamedGroup& b) {
                     return a.second.count > b.second.count;
                   });
  Group rest = others_;
  while (sorted.size() > kMaxActGroupsShown) {
    rest.count += sorted.back().second.count;
    rest.bytes += sorted.back().second.bytes;
    sorted.pop_back();
  }
  return {std::move(sorted), rest};
}

std::string ActPreview::Text(const EnvelopeAct& act) const {
  auto counts = [](uint64_t count, uint64_t bytes) {
    return absl::StrCat(count, count == 1 ? " envelope, " : " envelopes, ",
                        bytes, " octets");
  };
  std::string text = absl::StrCat(VisEncode(ActText(act)), ": ",
                                  counts(count_, all_.bytes), "\n");
  const auto [largest, rest] = Largest();
  for (const auto& [name, group] : largest)
    absl::StrAppend(&text, "    ", VisEncode(name), ": ",
                    counts(group.count, group.bytes), "\n");
  if (rest.count > 0)
    absl::StrAppend(&text,
                    "    other destinations: ", counts(rest.count, rest.bytes),
                    "\n");
  if (impossible_ > 0)
    absl::StrAppend(&text, "not possible, left alone: ", impossible_,
                    impossible_ == 1 ? " envelope\n" : " envelopes\n");
  if (cut_) text += kActCutText;
  return text;
}

Json ActPreview::AsJson(const EnvelopeAct& act) const {
  auto named = [](const std::string& name, const Group& group) {
    return Json{{"destination", name},
                {"envelopes", group.count},
                {"octets", group.bytes}};
  };
  const auto [largest, rest] = Largest();
  Json groups = Json::array();
  for (const auto& [name, group] : largest)
    groups.push_back(named(name, group));
  return Json{{"act", ActText(act)},
              {"envelopes", count_},
              {"octets", all_.bytes},
              {"groups", std::move(groups)},
              {"others", {{"envelopes", rest.count}, {"octets", rest.bytes}}},
              {"impossible", impossible_},
              {"more", cut_}};
}

}  // namespace holdfast
