#include "server/agent/agent.h"

#include <unistd.h>

#include <optional>
#include <utility>

namespace holdfast {
namespace {

class Session {
 public:
  Session(BlockingDoor* door, AgentDelivery::Method method,
          const std::function<std::unique_ptr<DeliveryGroup>()>& make_group)
      : door_(door), method_(method), make_group_(make_group) {}

  absl::Status Take(const BlockingDoor::Frame& frame) {
    switch (frame.type) {
      case AgentDelivery::kType:
        return TakeAs<AgentDelivery>(frame);
      case AgentText::kType:
        return TakeAs<AgentText>(frame);
      case AgentCommit::kType:
        return TakeAs<AgentCommit>(frame);
    }
    return Unexpected();
  }

 private:
  enum class State { kBetween, kInText };

  static absl::Status Unexpected() {
    return absl::DataLossError("unexpected message");
  }

  template <class Message>
  absl::Status TakeAs(const BlockingDoor::Frame& frame) {
    absl::StatusOr<Message> message = Decode<Message>(frame.payload);
    if (!message.ok()) return message.status();
    return On(*message);
  }

  absl::Status On(const AgentDelivery& delivery) {
    if (state_ != State::kBetween || delivery.method != method_)
      return Unexpected();
    if (group_ == nullptr) group_ = make_group_();
    group_->Begin(delivery);
    state_ = State::kInText;
    return absl::OkStatus();
  }

  absl::Status On(const AgentText& text) {
    if (state_ != State::kInText) return Unexpected();
    group_->Write(text.bytes);
    if (text.last) {
      text.cancelled ? group_->Cancel() : group_->End();
      state_ = State::kBetween;
    }
    return absl::OkStatus();
  }

  absl::Status On(const AgentCommit& commit) {
    if (state_ != State::kBetween) return Unexpected();
    AgentResults results;
    results.group = commit.group;
    if (group_ != nullptr) results.results = group_->Commit();
    group_.reset();
    return door_->Send(results);
  }

  BlockingDoor* const door_;
  const AgentDelivery::Method method_;
  const std::function<std::unique_ptr<DeliveryGroup>()>& make_group_;
  State state_ = State::kBetween;
  std::unique_ptr<DeliveryGroup> group_;
};

}  // namespace

absl::Status ServeDeliveries(
    BlockingDoor* door, AgentDelivery::Method method,
    const std::function<std::unique_ptr<DeliveryGroup>()>& make_group,
    unsigned step_seconds) {
  Session session(door, method, make_group);
  for (;;) {
    absl::StatusOr<std::optional<BlockingDoor::Frame>> frame = door->Read();
    if (!frame.ok()) return frame.status();
    if (!frame->has_value()) return absl::OkStatus();
    alarm(step_seconds);
    absl::Status taken = session.Take(**frame);
    alarm(0);
    if (!taken.ok()) return taken;
  }
}

}  // namespace holdfast
