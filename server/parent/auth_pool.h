// Questions to the system's user database, answered by short-lived children
// (smtpd-auth), since parent must never wait.
#ifndef HOLDFAST_SERVER_PARENT_AUTH_POOL_H_
#define HOLDFAST_SERVER_PARENT_AUTH_POOL_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "server/door/door.h"
#include "server/door/parent_messages.h"
#include "server/loop/event_loop.h"
#include "server/parent/processes.h"

namespace holdfast {

inline constexpr size_t kMaxAuthProcesses = 16;
inline constexpr absl::Duration kAuthDeadline = absl::Seconds(30);
inline constexpr absl::Duration kAuthIdle = absl::Seconds(60);
// More are answered with an error at once.
inline constexpr size_t kMaxAuthQuestions = 4096;
inline constexpr size_t kMaxUserNameBytes = 255;

// Used on the loop's thread.
class AuthPool {
 public:
  // `answer.question` is the asker's.
  using Done = absl::AnyInvocable<void(UserAnswer answer)>;

  AuthPool(EventLoop* loop, Processes* processes, std::string program)
      : loop_(loop), processes_(processes), program_(std::move(program)) {}

  // `done` is called once, perhaps before this returns; kError if the child
  // gave no answer in time.
  void Ask(UserQuestion question, Done done);

 private:
  struct Pending {
    UserQuestion question;
    Done done;
  };
  struct Child {
    pid_t pid = 0;
    std::unique_ptr<Door> door;
    std::unique_ptr<Pending> work;
    EventLoop::Timer timer;  // deadline, or idle
  };

  void Match();
  bool StartChild();
  void Give(Child* child, std::unique_ptr<Pending> work);
  void OnFrame(Child* child, Frame& frame);
  void BecomeIdle(Child* child);
  void Kill(Child* child);
  void OnExit(uint64_t child);
  static void Fail(std::unique_ptr<Pending> work);

  EventLoop* const loop_;
  Processes* const processes_;
  const std::string program_;
  uint64_t next_child_ = 1;
  std::map<uint64_t, std::unique_ptr<Child>> children_;
  std::deque<std::unique_ptr<Pending>> waiting_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_AUTH_POOL_H_
