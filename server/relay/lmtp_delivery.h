// What is different when `relay` speaks to the LMTP server of an `lmtp` action:
// it is a local delivery (reference part 1, sections 6.1 and 6.5, mail.lmtp).
#ifndef HOLDFAST_SERVER_RELAY_LMTP_DELIVERY_H_
#define HOLDFAST_SERVER_RELAY_LMTP_DELIVERY_H_

#include <cstddef>
#include <string>
#include <vector>

#include "config/config.h"
#include "server/door/worker_messages.h"

namespace holdfast {

// All of it is pure.

// Whether this is the server of an `lmtp` action (and not a relay URL of
// `host`, which is a relay like any other).
bool IsLmtpAction(const RelayTarget& target);

// What stands in RCPT TO: the user's name, or the address with `rcpt-to`.
// `action` null: it is gone; the name.
std::string LmtpRecipient(const Action* action,
                          const BatchMessage::Recipient& recipient);

// What stands before the message, lines end with LF: Return-Path, and for a
// recipient who is alone Delivered-To.  Several share one text, which must not
// tell one of them who the others are.
std::string LmtpTrace(const BatchMessage& message,
                      const std::vector<size_t>& recipients);

// Says the outcome in the words of a local delivery.
void AsLocalDelivery(WorkerOutcome* outcome);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_LMTP_DELIVERY_H_
