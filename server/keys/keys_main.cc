// smtpd-keys: started by smtpd, not by people.
#include <string.h>

#include "server/keys/check_main.h"
#include "server/keys/keys_room.h"
#include "server/room/room.h"

int main(int argc, char** argv) {
  if (argc == 2 && strcmp(argv[1], "check") == 0) return holdfast::CheckMain();
  return holdfast::RunRoom(holdfast::Room::kKeys, holdfast::KeysRoom::Make);
}
