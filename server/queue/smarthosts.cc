#include "server/queue/smarthosts.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "protocol/relay_url.h"
#include "protocol/vis.h"

namespace holdfast {

// Tables change at any time; what is known of URLs that stay is kept.
Smarthosts::Group& Smarthosts::GroupOf(const Action& action) {
  Group& group = groups_[action.name];
  const std::shared_ptr<const TableContents>& contents =
      action.host->contents();
  if (group.contents == contents) return group;
  group.contents = contents;
  std::vector<Element> old = std::exchange(group.elements, {});
  const size_t count = std::min(contents->size(), kMaxElements);
  for (size_t i = 0; i < count; ++i) {
    const auto parsed = ParseWeightedRelayUrl(contents->at(i).first);
    // Who loads tables has looked at the weights; this one came another way.
    if (!parsed.ok()) continue;
    const auto twice =
        std::find_if(group.elements.begin(), group.elements.end(),
                     [&](const Element& e) { return e.url == parsed->url; });
    if (twice != group.elements.end()) {
      twice->weight += parsed->weight;
      continue;
    }
    Element fresh;
    fresh.url = parsed->url;
    const auto known =
        std::find_if(old.begin(), old.end(),
                     [&](const Element& e) { return e.url == fresh.url; });
    if (known != old.end()) fresh = *known;
    fresh.weight = parsed->weight;
    fresh.credit = 0;
    group.elements.push_back(std::move(fresh));
  }
  return group;
}

Smarthosts::Element* Smarthosts::Find(const Action& action,
                                      const std::string& url) {
  for (Element& e : GroupOf(action).elements) {
    if (e.url == url) return &e;
  }
  return nullptr;
}

// One that has rested.  `reserve`: of those with weight 0.
Smarthosts::Element* Smarthosts::Probe(Group* group, bool reserve,
                                       absl::Duration now) {
  for (Element& e : group->elements) {
    if ((e.weight == 0) == reserve && e.MayBeProbed(now)) {
      e.probed_until = now + kProbeLife;
      return &e;
    }
  }
  return nullptr;
}

// Smooth weighted turns, by messages: over any stretch each gets its part, and
// none gets its part in one piece.
Smarthosts::Element* Smarthosts::TakeTurn(Group* group, bool reserve,
                                          size_t messages) {
  const auto cost = static_cast<int64_t>(messages);
  int64_t total = 0;
  Element* best = nullptr;
  for (Element& e : group->elements) {
    if ((e.weight == 0) != reserve || !e.Healthy()) continue;
    const int64_t weight = reserve ? 1 : e.weight;
    total += weight;
    e.credit += weight * cost;
    if (best == nullptr || e.credit > best->credit) best = &e;
  }
  if (best != nullptr) best->credit -= total * cost;
  return best;
}

std::optional<std::string> Smarthosts::Choose(const Action& action,
                                              size_t messages,
                                              absl::Duration now) {
  Group& group = GroupOf(action);
  if (group.elements.empty()) return std::nullopt;
  for (const bool reserve : {false, true}) {
    if (const Element* e = Probe(&group, reserve, now)) return e->url;
    if (const Element* e = TakeTurn(&group, reserve, messages)) return e->url;
  }
  return std::min_element(group.elements.begin(), group.elements.end(),
                          [](const Element& a, const Element& b) {
                            return a.rests_until < b.rests_until;
                          })
      ->url;
}

bool Smarthosts::OnFailed(const Action& action, const std::string& url,
                          absl::Duration now) {
  const Group& group = GroupOf(action);
  Element* failed = Find(action, url);
  // Batches of one round find out the same thing; it counts once.
  if (failed != nullptr && now >= failed->rests_until) {
    const int64_t n = std::min<uint32_t>(++failed->penalty, 1000);
    const absl::Duration rest = std::min(kRestBase * (n * n), kRestMax);
    failed->rests_until = now + rest;
    failed->probed_until = -absl::InfiniteDuration();
    log_(absl::StrCat("smtp-out: Smarthost ", VisEncode(url), " (action \"",
                      VisEncode(action.name), "\") does not answer, rests for ",
                      absl::ToInt64Seconds(rest), "s"));
  }
  return std::any_of(
      group.elements.begin(), group.elements.end(), [&](const Element& e) {
        return e.url != url && (e.Healthy() || e.MayBeProbed(now));
      });
}

void Smarthosts::OnWorks(const Action& action, const std::string& url) {
  Element* e = Find(action, url);
  if (e == nullptr || e->Healthy()) return;
  e->penalty = 0;
  e->credit = 0;
  e->rests_until = absl::ZeroDuration();
  e->probed_until = -absl::InfiniteDuration();
  log_(absl::StrCat("smtp-out: Smarthost ", VisEncode(url), " (action \"",
                    VisEncode(action.name), "\") answers again"));
}

void Smarthosts::OnUntried(const Action& action, const std::string& url) {
  if (Element* e = Find(action, url)) {
    e->probed_until = -absl::InfiniteDuration();
  }
}

void Smarthosts::ForgetRests() {
  for (auto& [action, group] : groups_) {
    for (Element& e : group.elements) {
      e.penalty = 0;
      e.rests_until = absl::ZeroDuration();
      e.probed_until = -absl::InfiniteDuration();
    }
  }
}

}  // namespace holdfast
