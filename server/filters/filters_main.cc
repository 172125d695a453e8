// smtpd-filters: started by smtpd, not by people.
#include "server/filters/filters_room.h"
#include "server/room/room.h"

int main() {
  return holdfast::RunRoom(holdfast::Room::kFilters,
                           holdfast::FiltersRoom::Make);
}
