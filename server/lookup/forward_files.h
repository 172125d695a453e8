// ~/.forward of users, as `parent` gives them: questions and their bounds.
// Nothing is remembered: what a user writes holds for the next mail.
#ifndef HOLDFAST_SERVER_LOOKUP_FORWARD_FILES_H_
#define HOLDFAST_SERVER_LOOKUP_FORWARD_FILES_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "server/door/lookup_messages.h"
#include "server/loop/event_loop.h"

namespace holdfast {

// Questions that `parent` has not answered; further files wait here.
inline constexpr size_t kMaxForwardQuestions = 32;
// Files that wait beyond that; further ones fail at once.
inline constexpr size_t kMaxWaitingForwards = 10000;
// `parent` gives up before.
inline constexpr absl::Duration kForwardTimeout = absl::Seconds(60);

// Used on the loop's thread.
class ForwardFiles {
 public:
  using Callback = absl::AnyInvocable<void(const ForwardAnswer&)>;
  using Ask = absl::AnyInvocable<void(const ForwardQuestion&)>;

  // `ask` sends a question to `parent`.
  ForwardFiles(EventLoop* loop, Ask ask);
  ForwardFiles(const ForwardFiles&) = delete;
  ForwardFiles& operator=(const ForwardFiles&) = delete;

  // Calls `done` once, in a later turn; never after this object is gone.  Who
  // asks for a file that is asked for but not yet read shares the answer.
  void Read(ForwardQuestion question, Callback done);

  // What `parent` said.  An answer to a question that is not open (late, or
  // made up) is ignored.
  void OnAnswer(const ForwardAnswer& answer);

 private:
  using File = std::tuple<std::string, bool, uint32_t, uint32_t, std::string>;
  struct Asked {
    ForwardQuestion question;  // its number is 0 until it is sent
    EventLoop::Timer timeout;
    std::vector<Callback> waiting;
  };

  void SendWaiting();
  void Refuse(Callback done);

  EventLoop* loop_;
  Ask ask_;
  uint64_t last_question_ = 0;
  std::map<File, Asked> asked_;
  std::map<uint64_t, File> open_;
  std::deque<File> unsent_;
  std::vector<Callback> refused_;
  EventLoop::Timer refuse_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOKUP_FORWARD_FILES_H_
