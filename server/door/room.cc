#include "server/door/room.h"

namespace holdfast {

const char* RoomName(Room room) {
  switch (room) {
    case Room::kParent:
      return "parent";
    case Room::kLookup:
      return "lookup";
    case Room::kQueue:
      return "queue";
    case Room::kReceive:
      return "receive";
    case Room::kRelay:
      return "relay";
    case Room::kDeliver:
      return "deliver";
    case Room::kAuth:
      return "auth";
    case Room::kAgent:
      return "agent";
    case Room::kKeys:
      return "keys";
    case Room::kFilters:
      return "filters";
  }
  return "unknown";
}

}  // namespace holdfast
