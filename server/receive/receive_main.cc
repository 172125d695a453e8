// smtpd-receive: started by smtpd, not by people.
#include "absl/time/time.h"
#include "server/receive/receive_room.h"
#include "server/room/room.h"

int main() {
  // Read now: later the root folder is empty.
  absl::LocalTimeZone();
  return holdfast::RunRoom(holdfast::Room::kReceive,
                           holdfast::ReceiveRoom::Make);
}
