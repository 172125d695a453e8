// smtpd-queue: the process that owns the queue.
#include "server/door/room.h"
#include "server/queue/queue_room.h"
#include "server/room/room.h"

int main() {
  return holdfast::RunRoom(holdfast::Room::kQueue, holdfast::MakeQueueRoom);
}
