// A batch that this worker has, and how far it has come.
#ifndef HOLDFAST_SERVER_RELAY_BATCH_WORK_H_
#define HOLDFAST_SERVER_RELAY_BATCH_WORK_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "server/door/worker_messages.h"

namespace holdfast {

class RelaySession;

struct BatchWork {
  explicit BatchWork(RelayBatch b) : batch(std::move(b)) {
    decided.reserve(batch.messages.size());
    for (const BatchMessage& m : batch.messages) {
      decided.emplace_back(m.recipients.size(), false);
      undecided += m.recipients.size();
    }
  }

  bool HasNext() const { return next < batch.messages.size(); }

  RelayBatch batch;
  // The claim is on the disk: final dots may go.
  bool claimed = false;
  // Nothing more of it is begun.
  bool stopped = false;
  // The messages before it have been begun.
  size_t next = 0;
  // Of each message, the recipients whose outcome is told.
  std::vector<std::vector<bool>> decided;
  size_t undecided = 0;
  // Which has it now; null: none.
  RelaySession* session = nullptr;
};

// How an attempt went there; the columns of a delivery's log line.
struct RelayVia {
  SessionId session{};
  std::string source = "-";
  std::string relay;
  std::string tls;  // empty: in clear

  friend bool operator==(const RelayVia&, const RelayVia&) = default;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_BATCH_WORK_H_
