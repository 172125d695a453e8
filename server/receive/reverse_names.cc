#include "server/receive/reverse_names.h"

#include <utility>

#include "protocol/smtp_path.h"

namespace holdfast {

void ReverseNames::SetDoor(uint32_t number, std::unique_ptr<Door> door) {
  OnClosed(number);
  Door* const raw = door.get();
  doors_[number] = std::move(door);
  // An old door has nothing to say any more.
  const auto current = [this, number, raw] {
    const auto door = doors_.find(number);
    return door != doors_.end() && door->second.get() == raw;
  };
  raw->SetCallbacks(
      [this, number, current](Frame& frame) {
        if (!current()) return;
        const bool known = Dispatch<ReverseAnswer>(
            frame, [this](const ReverseAnswer& answer) { On(answer); });
        if (!known) OnClosed(number);
      },
      [this, number, current](absl::Status) {
        if (current()) OnClosed(number);
      });
}

void ReverseNames::OnClosed(uint32_t number) {
  const auto door = doors_.find(number);
  if (door == doors_.end()) return;
  closed_door_ = std::move(door->second);
  doors_.erase(door);
  std::vector<uint64_t> lost;
  for (const auto& [question, asked] : open_) {
    if (asked.relay == number) lost.push_back(question);
  }
  for (const uint64_t question : lost) Settle(question, ClientName());
}

void ReverseNames::Find(const std::string& address, Callback done) {
  const auto known = known_.find(address);
  if (known != known_.end() && known->second.expires > loop_->Elapsed())
    return done(known->second.name);
  if (doors_.empty()) return done(ClientName());
  const auto asked = asked_.find(address);
  if (asked != asked_.end()) {
    open_[asked->second].waiting.push_back(std::move(done));
    return;
  }

  // The relays take turns.
  auto door = doors_.lower_bound(next_relay_);
  if (door == doors_.end()) door = doors_.begin();
  next_relay_ = door->first + 1;

  ReverseRequest request;
  request.question = ++last_question_;
  request.address = address;
  Question& question = open_[last_question_];
  question.address = address;
  question.relay = door->first;
  question.waiting.push_back(std::move(done));
  question.timeout = loop_->RunAfter(
      kReverseNameTimeout,
      [this, id = last_question_] { Settle(id, ClientName()); });
  asked_[address] = last_question_;
  door->second->Send(request);
}

void ReverseNames::On(const ReverseAnswer& answer) {
  const auto open = open_.find(answer.question);
  if (open == open_.end()) return;
  ClientName name;
  name.fcrdns = answer.fcrdns;
  // A name from the DNS stands in headers and log lines.
  if (IsValidDomain(answer.name)) {
    name.name = answer.name;
  } else if (name.fcrdns == ReverseAnswer::Confirmed::kPass) {
    name.fcrdns = ReverseAnswer::Confirmed::kFail;
  }
  Remember(open->second.address, name);
  Settle(answer.question, name);
}

void ReverseNames::Settle(uint64_t question, const ClientName& name) {
  const auto open = open_.find(question);
  if (open == open_.end()) return;
  Question settled = std::move(open->second);
  open_.erase(open);
  asked_.erase(settled.address);
  for (Callback& done : settled.waiting) done(name);
}

void ReverseNames::Remember(const std::string& address,
                            const ClientName& name) {
  const absl::Duration now = loop_->Elapsed();
  while (!expiry_.empty() &&
         (expiry_.front().first <= now || known_.size() >= kMaxReverseNames)) {
    const auto oldest = known_.find(expiry_.front().second);
    // The address may have been learnt again since.
    if (oldest != known_.end() &&
        oldest->second.expires == expiry_.front().first)
      known_.erase(oldest);
    expiry_.pop_front();
  }
  known_[address] = {name, now + kReverseNameLife};
  expiry_.emplace_back(now + kReverseNameLife, address);
}

}  // namespace holdfast
