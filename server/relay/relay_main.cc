#include "server/relay/relay_room.h"
#include "server/room/room.h"

int main() {
  return holdfast::RunRoom(holdfast::Room::kRelay, holdfast::MakeRelayRoom);
}
