// Questions to the system's user database and to the users' homes, answered by
// short-lived children (smtpd-auth), since parent must never wait.
#ifndef HOLDFAST_SERVER_PARENT_AUTH_POOL_H_
#define HOLDFAST_SERVER_PARENT_AUTH_POOL_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "protocol/secret.h"
#include "server/door/door.h"
#include "server/door/lookup_messages.h"
#include "server/door/parent_messages.h"
#include "server/loop/event_loop.h"
#include "server/parent/processes.h"

namespace holdfast {

inline constexpr size_t kMaxAuthProcesses = 16;
inline constexpr absl::Duration kAuthDeadline = absl::Seconds(30);
// One that takes longer does not hold up the others: up to so many are not
// counted above.
inline constexpr absl::Duration kAuthSlow = absl::Seconds(2);
inline constexpr size_t kMaxSlowAuthProcesses = 32;
// One name never holds up the others: it has so many of the processes at once,
// so many places to wait, and when one of its questions got no answer in time,
// all of them are answered with an error for a while.
inline constexpr size_t kMaxAuthProcessesForName = 4;
inline constexpr size_t kMaxAuthQuestionsForName = 256;
inline constexpr absl::Duration kAuthRest = absl::Minutes(2);
inline constexpr size_t kMaxRestingNames = 4096;
// Those that even SIGKILL does not end (a file server that hangs) are not
// counted above, up to this.
inline constexpr size_t kMaxStuckAuthProcesses = 48;
inline constexpr absl::Duration kAuthIdle = absl::Seconds(60);
// More are answered with an error at once.
inline constexpr size_t kMaxAuthQuestions = 4096;
inline constexpr size_t kMaxUserNameBytes = 255;
inline constexpr size_t kMaxHomeBytes = 4096;
inline constexpr size_t kMaxAskedPassword = 1023;

// What is answered for a name that no user can have; no child is asked.  These
// also say which answer belongs to which question.
UserAnswer AnswerForNobody(const UserQuestion& question);
PasswordAnswer AnswerForNobody(const PasswordQuestion& question);
ForwardAnswer AnswerForNobody(const ForwardQuestion& question);

// A pool answers questions of one kind or of many; those that wait in one pool
// wait for each other, so parent has one for each kind.  Used on the loop's
// thread.
class AuthPool {
 public:
  template <class Question>
  using AnswerTo = decltype(AnswerForNobody(std::declval<Question>()));

  AuthPool(EventLoop* loop, Processes* processes, std::string program)
      : loop_(loop), processes_(processes), program_(std::move(program)) {}

  // `done` is called once, perhaps before this returns, with the asker's
  // `answer.question`; the result is kError if the child gave no answer in
  // time.
  template <class Question>
  void Ask(Question question,
           absl::AnyInvocable<void(AnswerTo<Question>)> done) {
    if (!IsPossible(question)) return done(AnswerForNobody(question));
    Begin(std::make_unique<Typed<Question>>(std::move(question),
                                            std::move(done)));
  }

 private:
  struct Pending {
    virtual ~Pending() = default;
    virtual const std::string& name() const = 0;
    virtual void Send(Door* door) const = 0;
    // False: `frame` is no answer to this.  Else `answer` gives it to who
    // asked.
    virtual bool Take(Frame& frame, absl::AnyInvocable<void()>* answer) = 0;
    virtual void Fail() = 0;
  };
  template <class Question>
  struct Typed : Pending {
    using Answer = AnswerTo<Question>;
    Typed(Question q, absl::AnyInvocable<void(Answer)> d)
        : question(std::move(q)), done(std::move(d)) {}
    ~Typed() override { WipeSecrets(&question); }
    const std::string& name() const override { return question.name; }
    void Send(Door* door) const override { door->Send(question); }
    bool Take(Frame& frame, absl::AnyInvocable<void()>* answer) override {
      return Dispatch<Answer>(frame, [&](Answer& heard) {
        heard.question = question.question;
        *answer = [this, heard = std::move(heard)]() mutable {
          done(std::move(heard));
        };
      });
    }
    void Fail() override {
      Answer answer;
      answer.question = question.question;
      done(std::move(answer));
    }
    Question question;
    absl::AnyInvocable<void(Answer)> done;
  };
  struct Child {
    pid_t pid = 0;
    std::unique_ptr<Door> door;
    std::unique_ptr<Pending> work;
    EventLoop::Timer timer;  // slow, then deadline; or idle
    enum class Pace : uint8_t {
      kGood,
      kSlow,   // is not counted
      kStuck,  // had its deadline, and has not ended
    } pace = Pace::kGood;
  };
  // Of one name; gone when all is zero.
  struct Load {
    size_t waiting = 0;
    size_t busy = 0;
  };

  static bool IsPossibleName(const std::string& name);
  template <class Question>
  static bool IsPossible(const Question& question) {
    return IsPossibleName(question.name);
  }
  static bool IsPossible(const ForwardQuestion& question) {
    return IsPossibleName(question.name) &&
           question.home.size() <= kMaxHomeBytes &&
           question.home.find('\0') == std::string::npos;
  }
  static bool IsPossible(const PasswordQuestion& question) {
    return IsPossibleName(question.name) &&
           question.password.size() <= kMaxAskedPassword &&
           question.address.size() <= kMaxUserNameBytes;
  }
  template <class Question>
  static void WipeSecrets(Question*) {}
  static void WipeSecrets(PasswordQuestion* question) {
    Wipe(&question->password);
  }
  void Begin(std::unique_ptr<Pending> work);
  void Match();
  // The first that waits and whose name has not too many processes; null:
  // there is none.
  std::unique_ptr<Pending> TakeNext();
  void Done(const std::string& name);  // one of its is not busy any more
  void Rest(const std::string& name);
  bool IsResting(const std::string& name);
  size_t Working() const;
  void SetPace(Child* child, Child::Pace pace);
  bool StartChild();
  void Give(Child* child, std::unique_ptr<Pending> work);
  void OnFrame(Child* child, Frame& frame);
  void BecomeIdle(Child* child);
  void Kill(Child* child);
  void OnSlow(Child* child);
  void OnDeadline(Child* child);
  void OnExit(uint64_t child);

  EventLoop* const loop_;
  Processes* const processes_;
  const std::string program_;
  uint64_t next_child_ = 1;
  std::map<uint64_t, std::unique_ptr<Child>> children_;
  std::deque<std::unique_ptr<Pending>> waiting_;
  std::map<std::string, Load> loads_;
  std::map<std::string, absl::Duration> resting_;  // until, by Elapsed()
  size_t slow_ = 0;
  size_t stuck_ = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_AUTH_POOL_H_
