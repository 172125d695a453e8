// The names of clients, and whether they are confirmed by the names' addresses
// (reference part 1, section 4.1).  The DNS is asked by the relay rooms;
// answers are kept for a minute, so that a client with many connections costs
// one question.
#ifndef HOLDFAST_SERVER_RECEIVE_REVERSE_NAMES_H_
#define HOLDFAST_SERVER_RECEIVE_REVERSE_NAMES_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "server/door/door.h"
#include "server/door/receive_messages.h"
#include "server/loop/event_loop.h"

namespace holdfast {

inline constexpr char kUnknownName[] = "<unknown>";
inline constexpr absl::Duration kReverseNameTimeout = absl::Seconds(10);
inline constexpr absl::Duration kReverseNameLife = absl::Seconds(60);
inline constexpr size_t kMaxReverseNames = 10000;

// What the DNS says of a client.
struct ClientName {
  std::string name = kUnknownName;
  // Whether that name has the client's address.
  ReverseAnswer::Confirmed fcrdns = ReverseAnswer::Confirmed::kError;
};

// Used on the loop's thread.  Outlives its callers.
class ReverseNames {
 public:
  using Callback = absl::AnyInvocable<void(const ClientName&)>;

  explicit ReverseNames(EventLoop* loop) : loop_(loop) {}

  // The door to relay number `number`.
  void SetDoor(uint32_t number, std::unique_ptr<Door> door);

  // Gives the name of `address` ("192.0.2.1", "2001:db8::1"): inside the call
  // if it is known or there is nobody to ask, at the latest after
  // kReverseNameTimeout.
  void Find(const std::string& address, Callback done);

 private:
  struct Question {
    std::string address;
    uint32_t relay = 0;
    std::vector<Callback> waiting;
    EventLoop::Timer timeout;
  };
  struct Known {
    ClientName name;
    absl::Duration expires;  // EventLoop::Elapsed()
  };

  void On(const ReverseAnswer& answer);
  void OnClosed(uint32_t number);
  void Settle(uint64_t question, const ClientName& name);
  void Remember(const std::string& address, const ClientName& name);

  EventLoop* loop_;
  std::map<uint32_t, std::unique_ptr<Door>> doors_;
  std::unique_ptr<Door> closed_door_;  // until nobody is in its callbacks
  uint32_t next_relay_ = 0;
  uint64_t last_question_ = 0;
  absl::flat_hash_map<uint64_t, Question> open_;
  absl::flat_hash_map<std::string, uint64_t> asked_;  // address, question
  absl::flat_hash_map<std::string, Known> known_;
  std::deque<std::pair<absl::Duration, std::string>> expiry_;  // in order
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RECEIVE_REVERSE_NAMES_H_
