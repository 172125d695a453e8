// What one run of smtp-load sends.
#ifndef HOLDFAST_CTL_LOAD_LOAD_PLAN_H_
#define HOLDFAST_CTL_LOAD_LOAD_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

namespace holdfast {

struct LoadPlan {
  std::string run = "load";  // first half of every X-Load-Id
  int64_t first = 1;         // number of the first message
  int64_t messages = 100;
  int64_t connections = 10;
  int64_t per_connection = 10;  // messages; 0: no limit
  int64_t size = 2048;          // bytes of a body
  int64_t bodies = 64;          // different ones
  int64_t recipients = 1;       // of each message
  int64_t seconds = 300;        // of the whole run; then what is open is cut
  int64_t reply_seconds = 60;   // the longest wait for an answer
  int64_t rate = 0;             // messages a second; 0: no limit
  int64_t bdat = 0;             // bytes of a BDAT chunk; 0: DATA
  bool pipelining = false;      // used where the server offers it
  bool reconnect = false;       // go on when the server can't be reached
  std::string helo = "load.invalid";
  std::string sender = "sender@load.invalid";
  // Recipient k of message n is users[k] (or "u<k>" beyond them) at
  // domains[(n + k) % size].
  std::vector<std::string> users;
  std::vector<std::string> domains = {"load.example"};

  std::string Id(int64_t number) const {
    return run + "-" + std::to_string(number);
  }
  std::string Recipient(int64_t number, int64_t k) const {
    const std::string user = k < static_cast<int64_t>(users.size())
                                 ? users[k]
                                 : "u" + std::to_string(k);
    return user + "@" + domains[(number + k) % domains.size()];
  }
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_LOAD_LOAD_PLAN_H_
