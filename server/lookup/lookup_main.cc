#include "server/lookup/lookup_room.h"
#include "server/room/room.h"

int main() {
  return holdfast::RunRoom(holdfast::Room::kLookup, holdfast::MakeLookupRoom);
}
