#include "server/queue/act_tokens.h"

#include <algorithm>
#include <utility>

#include "absl/random/uniform_int_distribution.h"
#include "absl/strings/str_cat.h"

namespace holdfast {

std::string ActTokens::Add(const ActPeer& peer, PlannedAct plan, absl::Time now,
                           absl::BitGenRef random) {
  if (!MakeRoom(plan.envelopes.size(), now)) return "";
  absl::uniform_int_distribution<uint32_t> any;
  std::string name;
  do {
    name = absl::StrCat(absl::Hex(any(random), absl::kZeroPad8));
  } while (tokens_.count(name) > 0);
  PutBack(name, peer, std::move(plan), now);
  return name;
}

void ActTokens::PutBack(const std::string& token, const ActPeer& peer,
                        PlannedAct rest, absl::Time now) {
  if (tokens_.count(token) > 0 || !MakeRoom(rest.envelopes.size(), now)) return;
  envelopes_ += rest.envelopes.size();
  rest.envelopes.shrink_to_fit();
  tokens_[token] = {peer.uid, now + kActTokenLife, next_number_++,
                    std::move(rest)};
}

bool ActTokens::MakeRoom(size_t envelopes, absl::Time now) {
  Forget(now);
  if (envelopes > kMaxTokenEnvelopes) return false;
  while (tokens_.size() >= kMaxActTokens ||
         envelopes_ + envelopes > kMaxTokenEnvelopes)
    ForgetOldest();
  return true;
}

absl::StatusOr<PlannedAct> ActTokens::Take(const std::string& token,
                                           const ActPeer& peer,
                                           EnvelopeAct::Kind kind,
                                           const std::string* filter,
                                           absl::Time now) {
  Forget(now);
  const auto found = tokens_.find(token);
  if (found == tokens_.end() || found->second.uid != peer.uid)
    return absl::NotFoundError(
        "no such token, or its time is over: look again without it");
  PlannedAct& plan = found->second.plan;
  if (plan.act.kind != kind)
    return absl::InvalidArgumentError(
        absl::StrCat("this token is for: ", ActText(plan.act)));
  if (filter != nullptr && *filter != plan.filter_text)
    return absl::InvalidArgumentError(
        absl::StrCat("this token is for another filter: ",
                     plan.filter_text.empty() ? "all" : plan.filter_text));
  PlannedAct out = std::move(plan);
  envelopes_ -= out.envelopes.size();
  tokens_.erase(found);
  return out;
}

void ActTokens::Forget(absl::Time now) {
  for (auto it = tokens_.begin(); it != tokens_.end();) {
    if (it->second.until > now) {
      ++it;
      continue;
    }
    envelopes_ -= it->second.plan.envelopes.size();
    it = tokens_.erase(it);
  }
}

void ActTokens::ForgetOldest() {
  const auto oldest = std::min_element(
      tokens_.begin(), tokens_.end(), [](const auto& a, const auto& b) {
        return a.second.number < b.second.number;
      });
  envelopes_ -= oldest->second.plan.envelopes.size();
  tokens_.erase(oldest);
}

}  // namespace holdfast
