// Users of the system, as `parent` knows them: questions, their bounds, and a
// short memory of the answers.
#ifndef HOLDFAST_SERVER_LOOKUP_USER_DIRECTORY_H_
#define HOLDFAST_SERVER_LOOKUP_USER_DIRECTORY_H_

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "server/door/parent_messages.h"
#include "server/loop/event_loop.h"

namespace holdfast {

inline constexpr absl::Duration kUserCacheTime = absl::Seconds(10);
inline constexpr size_t kUserCacheEntries = 10000;
// Questions that `parent` has not answered; further names wait here.
inline constexpr size_t kMaxUserQuestions = 32;
// Names that wait beyond that; further ones fail at once.
inline constexpr size_t kMaxWaitingNames = 10000;
// `parent` gives up before.
inline constexpr absl::Duration kUserQuestionTimeout = absl::Seconds(60);

// Used on the loop's thread.
class UserDirectory {
 public:
  using Result = UserAnswer::Result;
  using Callback = absl::AnyInvocable<void(Result)>;
  using Ask = absl::AnyInvocable<void(const UserQuestion&)>;

  // `ask` sends a question to `parent`.
  UserDirectory(EventLoop* loop, Ask ask);
  UserDirectory(const UserDirectory&) = delete;
  UserDirectory& operator=(const UserDirectory&) = delete;

  // Calls `done` once, in a later turn; never after this object is gone.
  void Find(const std::string& name, Callback done);

  // What `parent` said.  An answer to a question that is not open (late, or
  // made up) is ignored.
  void OnAnswer(const UserAnswer& answer);

 private:
  struct Known {
    Result result;
    absl::Duration until;
  };
  struct Asked {
    uint64_t question = 0;  // 0: not yet sent
    EventLoop::Timer timeout;
    std::vector<Callback> waiting;
  };

  void SendWaiting();
  void Answer(const std::string& name, Result result);
  void Remember(const std::string& name, Result result);
  void ForgetOld();
  void Later(Callback done, Result result);

  EventLoop* loop_;
  Ask ask_;
  uint64_t last_question_ = 0;
  std::map<std::string, Known> known_;
  // The names of `known_`, in the order of `until`.
  std::deque<std::pair<absl::Duration, std::string>> expiry_;
  std::map<std::string, Asked> asked_;
  std::map<uint64_t, std::string> open_;  // sent questions
  std::deque<std::string> unsent_;
  EventLoop::Timer deliver_;
  std::vector<std::pair<Callback, Result>> ready_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOKUP_USER_DIRECTORY_H_
