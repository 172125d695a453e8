// Turns envelopes that match into what `smtpctl queue list` prints: as they
// come, or sorted, counted or in groups at the end.  Its memory has a limit.
// Pure.
#ifndef HOLDFAST_PROTOCOL_QUEUE_LISTER_H_
#define HOLDFAST_PROTOCOL_QUEUE_LISTER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "protocol/envelope_fields.h"
#include "protocol/queue_list_request.h"
#include "protocol/queue_rows.h"

namespace holdfast {

// What --sort and --group-by may keep: rows (or groups), and octets of their
// text.  Beyond it sorting is refused; further groups are one, "(others)".
inline constexpr size_t kMaxListedRows = 50000;
inline constexpr size_t kMaxListedBytes = 12 << 20;
// Of one group's value.
inline constexpr size_t kMaxGroupValue = 200;

class QueueLister {
 public:
  QueueLister(QueueListRequest request, absl::Time now);

  // kResourceExhausted: too much to sort; says what to do.
  absl::Status Add(const EnvelopeFacts& facts);
  // Nothing more need be added: the limit is reached.
  bool full() const { return full_; }
  // Nothing more will be added.
  void End();
  // It keeps rows or groups until the end, up to the limits above.
  bool keeps_rows() const { return request_.group_by || request_.sort; }

  // What can be printed so far, at most about `max_bytes` and at least a line
  // of it; empty: nothing (more) yet.
  std::string Take(size_t max_bytes);
  // Everything was taken and End() called.
  bool done() const { return ended_ && lines_.empty() && header_.empty(); }

 private:
  struct SortKey {
    bool none = false;  // goes last
    int64_t number = 0;
    std::string text;
    EnvelopeId id{};
  };
  struct Sorted {
    SortKey key;
    std::string line;
  };

  bool Before(const Sorted& a, const Sorted& b) const;
  SortKey KeyOf(const EnvelopeFacts& facts) const;
  absl::Status AddSorted(const EnvelopeFacts& facts);
  void AddToGroup(const EnvelopeFacts& facts);
  void EndGroups();

  const QueueListRequest request_;
  const absl::Time now_;
  std::string header_;
  std::deque<std::string> lines_;  // to be printed
  bool full_ = false, ended_ = false;
  uint64_t count_ = 0, bytes_ = 0;  // so far
  std::vector<Sorted> sorted_;      // with a limit: a heap, the last on top
  size_t kept_bytes_ = 0;           // of sorted_ or groups_
  std::map<std::string, QueueGroup> groups_;
  QueueGroup others_;
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_QUEUE_LISTER_H_
