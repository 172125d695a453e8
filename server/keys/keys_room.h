// The room that has the private keys: it signs what receive and relay ask it
// to, makes the keys of session tickets, and does nothing else.
#ifndef HOLDFAST_SERVER_KEYS_KEYS_ROOM_H_
#define HOLDFAST_SERVER_KEYS_KEYS_ROOM_H_

#include <cstddef>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "server/door/keys_messages.h"
#include "server/keys/private_key.h"
#include "server/keys/signing_queue.h"
#include "server/keys/ticket_key_maker.h"
#include "server/room/room.h"

namespace holdfast {

// A door whose peer does not take its answers is not heard above this.
inline constexpr size_t kMaxAnswerBytes = 1 << 20;

class KeysRoom : public RoomHandler {
 public:
  static absl::StatusOr<std::unique_ptr<RoomHandler>> Make(RoomContext context);
  // `threads` as SigningQueue has it.
  static absl::StatusOr<std::unique_ptr<RoomHandler>> MakeWith(
      RoomContext context, unsigned threads);

  ~KeysRoom() override;

  void OnDoor(const NewDoor& to, std::unique_ptr<Door> door) override;
  bool OnParentFrame(Frame& frame) override;
  void OnStop(absl::Duration grace) override;

 private:
  // A key, and whose certificates it is of: no room has another's signed for.
  struct Key {
    PrivateKey key;
    bool for_receive = false;
    bool for_relay = false;
  };
  // One that asks.
  struct Client {
    std::unique_ptr<Door> door;
    Room room = Room::kReceive;
    bool wants_tickets = false;
    size_t open = 0;  // questions
  };
  using ClientKey = std::pair<Room, uint32_t>;

  KeysRoom(RoomContext context, unsigned threads);

  absl::Status ReadKeys();
  void AllowKeys(const std::set<std::string>& pkis, bool Key::*room);
  const Key* FindKey(const Client& client, const std::string& id) const;
  void OnRequest(const std::shared_ptr<Client>& client, SignRequest request);
  void Answer(Client* client, uint64_t question,
              absl::StatusOr<std::string> signature);
  void TellTicketKeys();

  RoomContext context_;
  std::map<std::string, Key> keys_;         // by id
  std::map<std::string, std::string> ids_;  // by path
  SigningQueue signing_;
  TicketKeyMaker tickets_;
  std::map<ClientKey, std::shared_ptr<Client>> clients_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_KEYS_KEYS_ROOM_H_
