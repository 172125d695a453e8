// Envelopes and groups of them, as `smtpctl queue list` prints them.
// docs/OPERATING.md describes what programs may rely on: the names and forms of
// JSON and CSV.  Each function gives whole lines.
#ifndef HOLDFAST_PROTOCOL_QUEUE_ROWS_H_
#define HOLDFAST_PROTOCOL_QUEUE_ROWS_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/envelope_fields.h"
#include "protocol/queue_list_request.h"

namespace holdfast {

// Before the first row; may be empty.
std::string QueueRowHeader(const QueueListRequest& request);
std::string QueueRow(const QueueListRequest& request,
                     const EnvelopeFacts& facts, absl::Time now);

struct QueueGroup {
  std::string value;  // of the field; raw
  uint64_t count = 0;
  uint64_t bytes = 0;  // of messages, for each envelope again
  absl::Time oldest = absl::InfiniteFuture();
};
std::string QueueGroupHeader(const QueueListRequest& request);
std::string QueueGroupRow(const QueueListRequest& request,
                          const QueueGroup& group, absl::Time now);

// --count
std::string QueueCount(const QueueListRequest& request, uint64_t count,
                       uint64_t bytes);

// "45s", "12m", "3h05m", "2d04h"; "-" before a negative one.
std::string ShortDuration(int64_t seconds);
// "812", "4.2K", "17M"
std::string ShortBytes(uint64_t bytes);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_QUEUE_ROWS_H_
