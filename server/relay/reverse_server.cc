#include "server/relay/reverse_server.h"

#include <optional>
#include <utility>

#include "server/log/log.h"

namespace holdfast {
namespace {

ReverseAnswer::Confirmed ToAnswer(HostName::Confirmed confirmed) {
  switch (confirmed) {
    case HostName::Confirmed::kPass:
      return ReverseAnswer::Confirmed::kPass;
    case HostName::Confirmed::kFail:
      return ReverseAnswer::Confirmed::kFail;
    case HostName::Confirmed::kError:
      break;
  }
  return ReverseAnswer::Confirmed::kError;
}

}  // namespace

void ReverseServer::AddDoor(uint32_t number, std::unique_ptr<Door> door) {
  Drop(number);
  const std::shared_ptr<Door> place = std::move(door);
  doors_[number] = place;
  place->SetCallbacks([this, number](Frame& frame) { OnFrame(number, frame); },
                      // The old one may say so when there is a new one.
                      [this, number, raw = place.get()](absl::Status) {
                        const auto it = doors_.find(number);
                        if (it != doors_.end() && it->second.get() == raw)
                          Drop(number);
                      });
}

// Perhaps inside its callback.
void ReverseServer::Drop(uint32_t number) {
  auto node = doors_.extract(number);
  if (node.empty()) return;
  loop_->AtTurnEnd([door = std::move(node.mapped())] {});
}

void ReverseServer::OnFrame(uint32_t number, Frame& frame) {
  const std::shared_ptr<Door> door = doors_[number];
  if (Dispatch<ReverseRequest>(
          frame, [&](const auto& request) { Answer(door, request); }))
    return;
  LogWarn("warn: relay: receive says what is not understood");
  Drop(number);
}

void ReverseServer::Answer(const std::shared_ptr<Door>& door,
                           const ReverseRequest& request) {
  const std::optional<IpAddress> address = IpAddress::Parse(request.address);
  if (!address) {
    ReverseAnswer answer;
    answer.question = request.question;
    return door->Send(answer);
  }
  resolver_->FindName(*address, [weak = std::weak_ptr<Door>(door),
                                 question = request.question](HostName name) {
    const std::shared_ptr<Door> door = weak.lock();
    if (door == nullptr) return;
    ReverseAnswer answer;
    answer.question = question;
    answer.name = std::move(name.name);
    answer.fcrdns = ToAnswer(name.confirmed);
    door->Send(answer);
  });
}

}  // namespace holdfast
