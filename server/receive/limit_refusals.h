// What a client hears when a limit acts, and how it is counted for `show
// stats`.
#ifndef HOLDFAST_SERVER_RECEIVE_LIMIT_REFUSALS_H_
#define HOLDFAST_SERVER_RECEIVE_LIMIT_REFUSALS_H_

#include "protocol/reply.h"
#include "protocol/smtp_server_session.h"
#include "server/door/receive_messages.h"
#include "server/receive/client_limits.h"

namespace holdfast {

// Of a limit by address.  To a connection always 421; to MAIL first 451, and
// 421 when the limit is hard.
Reply RefusalFor(const LimitVerdict& verdict);
// `smtp limit max-sessions`.
Reply TooManySessions();
// `smtp limit min-data-rate`.
Reply MessageTooSlow();
// `smtp limit command-timeout`, `data-timeout`.
Reply TimedOut();
// The table of `xclient` cannot say whether it is a proxy.
Reply ProxyUnknown();

void CountRefusal(ClientLimit limit, SessionCounts* counts);
// Limits that the session keeps itself.
void CountHits(const SessionLimitHits& hits, SessionCounts* counts);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RECEIVE_LIMIT_REFUSALS_H_
