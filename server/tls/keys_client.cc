#include "server/tls/keys_client.h"

#include <utility>

namespace holdfast {

void KeysClient::SetDoor(std::unique_ptr<Door> door) {
  Lose();
  door_ = std::move(door);
  // The one before may yet say that it has closed.
  auto is_this = [this, raw = door_.get()] { return door_.get() == raw; };
  door_->SetCallbacks(
      [this, is_this](Frame& frame) {
        if (is_this()) OnFrame(frame);
      },
      [this, is_this](absl::Status) {
        if (is_this()) Lose();
      });
}

void KeysClient::Serve(TlsServerContext* context) {
  contexts_.push_back(context);
  context->SetTicketKeys(ticket_keys_);
}

void KeysClient::Sign(SignRequest request, Done done) {
  if (door_ == nullptr)
    return FailLater(absl::UnavailableError("keys is not there"),
                     std::move(done));
  if (open_.size() >= kMaxOpenSignatures)
    return FailLater(absl::ResourceExhaustedError("too many handshakes"),
                     std::move(done));
  if (request.input.size() > kMaxSignedBytes)
    return FailLater(absl::InvalidArgumentError("too much to sign"),
                     std::move(done));
  request.question = ++last_question_;
  open_.emplace(request.question, std::move(done));
  door_->Send(request);
}

// A frame nobody understands is a broken peer's.
void KeysClient::OnFrame(Frame& frame) {
  if (!Dispatch<Signature, TicketKeys>(frame,
                                       [this](auto& message) { On(message); }))
    Lose();
}

void KeysClient::On(Signature& signature) {
  const auto found = open_.find(signature.question);
  if (found == open_.end()) return;
  Done done = std::move(found->second);
  open_.erase(found);
  if (signature.ok) return done(std::move(signature.bytes));
  done(absl::InternalError(signature.error));
}

void KeysClient::On(TicketKeys& keys) {
  ticket_keys_ = std::move(keys);
  for (TlsServerContext* context : contexts_)
    context->SetTicketKeys(ticket_keys_);
}

// May run inside a callback of the door.  The ticket keys go on: another
// `keys` will bring new ones.
void KeysClient::Lose() {
  if (door_ == nullptr) return;
  closed_door_ = std::move(door_);
  for (auto& [question, done] : std::exchange(open_, {}))
    FailLater(absl::UnavailableError("keys has gone"), std::move(done));
}

void KeysClient::FailLater(absl::Status why, Done done) {
  loop_->Post([why = std::move(why), done = std::move(done),
               alive = std::weak_ptr<bool>(alive_)]() mutable {
    if (!alive.expired()) done(std::move(why));
  });
}

}  // namespace holdfast
