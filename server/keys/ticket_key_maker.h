// Session ticket keys: made here, changed twice a day, forgotten after another
// half (see TicketKeys in server/door/keys_messages.h).
#ifndef HOLDFAST_SERVER_KEYS_TICKET_KEY_MAKER_H_
#define HOLDFAST_SERVER_KEYS_TICKET_KEY_MAKER_H_

#include <functional>
#include <string>

#include "absl/time/time.h"
#include "server/door/keys_messages.h"
#include "server/loop/event_loop.h"

namespace holdfast {

inline constexpr absl::Duration kTicketKeyLife = absl::Hours(12);

// Used on the loop's thread.
class TicketKeyMaker {
 public:
  // So many octets that nobody can guess.
  using Random = std::function<std::string(size_t)>;

  // `changed` is called whenever keys() has.
  TicketKeyMaker(EventLoop* loop, Random random, std::function<void()> changed);
  ~TicketKeyMaker();

  // The present one, the one before (if there was one), the next.
  const TicketKeys& keys() const { return keys_; }

 private:
  TicketKeys::Key Make();
  void Rotate();
  void RotateLater();

  EventLoop* const loop_;
  const Random random_;
  const std::function<void()> changed_;
  TicketKeys keys_;
  EventLoop::Timer timer_;
};

// The library's random numbers.
std::string SecureRandom(size_t octets);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_KEYS_TICKET_KEY_MAKER_H_
