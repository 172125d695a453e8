// smtpd-deliver: the `deliver` room.
#include <memory>

#include "server/deliver/deliver_room.h"
#include "server/room/room.h"

int main() {
  return holdfast::RunRoom(
      holdfast::Room::kDeliver,
      [](holdfast::RoomContext context)
          -> absl::StatusOr<std::unique_ptr<holdfast::RoomHandler>> {
        return std::make_unique<holdfast::DeliverRoom>(std::move(context));
      });
}
