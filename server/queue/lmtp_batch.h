// Batches of `lmtp` actions: local mail that `relay` brings to a server which
// speaks LMTP (RFC 2033).
#ifndef HOLDFAST_SERVER_QUEUE_LMTP_BATCH_H_
#define HOLDFAST_SERVER_QUEUE_LMTP_BATCH_H_

#include <vector>

#include "config/config.h"
#include "protocol/envelope.h"
#include "server/door/worker_messages.h"

namespace holdfast {

// Whether this envelope goes to the LMTP server of its action.  What an alias
// or ~/.forward gives to a command or a file goes to an agent all the same.
bool GoesByLmtp(const Action& action, const Envelope& envelope);

// Only for actions for which GoesByLmtp() can be true.
RelayTarget LmtpTarget(const Action& action);

// What senders asked of the way is fulfilled here, by local delivery: the
// server behind the socket is not told, so that nobody reports twice.
void EndOfTheWay(const Action& action, std::vector<BatchMessage>* messages);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_LMTP_BATCH_H_
