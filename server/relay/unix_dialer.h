// Connections to the Unix sockets of `lmtp` actions: `parent` makes them, for
// this process sees no files.
#ifndef HOLDFAST_SERVER_RELAY_UNIX_DIALER_H_
#define HOLDFAST_SERVER_RELAY_UNIX_DIALER_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/time/time.h"
#include "server/door/door.h"
#include "server/loop/event_loop.h"
#include "server/relay/relay_services.h"

namespace holdfast {

// Used on the loop's thread; outlives what Dial() returns.
class UnixDialer {
 public:
  UnixDialer(EventLoop* loop, Door* parent) : loop_(loop), parent_(parent) {}

  // As Dialer::DialUnix().
  [[nodiscard]] PendingConnect Dial(const std::string& action,
                                    absl::Duration timeout, Dialer::Done done);
  // True: it was the answer to a Dial().
  bool OnParentFrame(Frame& frame);

  size_t open() const { return asked_.size(); }

 private:
  class Pending;
  void OnTimeout(uint64_t question);
  // Takes the question's callback; null: nobody waits any more.
  Dialer::Done Take(uint64_t question);

  EventLoop* const loop_;
  Door* const parent_;
  uint64_t next_question_ = 1;
  std::map<uint64_t, Pending*> asked_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_UNIX_DIALER_H_
