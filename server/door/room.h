// The rooms of smtpd: its processes (docs/ARCHITECTURE.md).
#ifndef HOLDFAST_SERVER_DOOR_ROOM_H_
#define HOLDFAST_SERVER_DOOR_ROOM_H_

#include <cstdint>

namespace holdfast {

enum class Room : uint8_t {
  kParent = 1,
  kLookup = 2,
  kQueue = 3,
  kReceive = 4,
  kRelay = 5,
  kDeliver = 6,
  kAuth = 7,      // smtpd-auth: short-lived questions to the user database
  kAgent = 8,     // smtpd-agent: delivers as one user
  kKeys = 9,      // private keys and session ticket keys of TLS
  kFilters = 10,  // filter processes and milters; only if there are filters
};

// "queue", "receive", ...; the executable is "smtpd-" and this name.
const char* RoomName(Room room);

// The descriptor on which every room finds its door to `parent`.
inline constexpr int kParentDoorFd = 3;

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DOOR_ROOM_H_
