// What receive (and relay) want of `keys`.
#ifndef HOLDFAST_SERVER_TLS_KEYS_CLIENT_H_
#define HOLDFAST_SERVER_TLS_KEYS_CLIENT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "server/door/door.h"
#include "server/loop/event_loop.h"
#include "server/tls/tls_stream.h"

namespace holdfast {

// Used on the loop's thread.  Outlives the contexts it serves.
class KeysClient : public Signer {
 public:
  explicit KeysClient(EventLoop* loop) : loop_(loop) {}

  // Replaces the one before, whose open questions are answered kUnavailable.
  void SetDoor(std::unique_ptr<Door> door);
  bool connected() const { return door_ != nullptr; }

  // It gets the ticket keys, those of now and all that come.  `context` lives
  // as long as this is used.
  void Serve(TlsServerContext* context);

  // kResourceExhausted beyond kMaxOpenSignatures, kInvalidArgument beyond
  // kMaxSignedBytes.
  void Sign(SignRequest request, Done done) override;

 private:
  void OnFrame(Frame& frame);
  void On(Signature& signature);
  void On(TicketKeys& keys);
  void Lose();
  void FailLater(absl::Status why, Done done);

  EventLoop* const loop_;
  std::unique_ptr<Door> door_;
  std::unique_ptr<Door> closed_door_;  // until nobody is in its callbacks
  uint64_t last_question_ = 0;
  std::map<uint64_t, Done> open_;
  std::vector<TlsServerContext*> contexts_;
  TicketKeys ticket_keys_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TLS_KEYS_CLIENT_H_
