// Real connections.
#ifndef HOLDFAST_SERVER_RELAY_SOCKET_DIALER_H_
#define HOLDFAST_SERVER_RELAY_SOCKET_DIALER_H_

#include <memory>

#include "server/door/door.h"
#include "server/loop/event_loop.h"
#include "server/relay/relay_services.h"

namespace holdfast {

// Both outlive it.  `parent` is asked for Unix sockets.
std::unique_ptr<Dialer> MakeDialer(EventLoop* loop, Door* parent);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_SOCKET_DIALER_H_
