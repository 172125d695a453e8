// A connection to a milter: the socket, the protocol, the time limit.
#ifndef HOLDFAST_SERVER_FILTERS_MILTER_CONNECTION_H_
#define HOLDFAST_SERVER_FILTERS_MILTER_CONNECTION_H_

#include <deque>
#include <memory>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/milter_session.h"
#include "server/loop/event_loop.h"
#include "server/loop/stream.h"
#include "storage/owned_fd.h"

namespace holdfast {

// Above this, what the milter has not read yet keeps more from being said.
inline constexpr size_t kMaxMilterBacklog = 256 << 10;

// Used on the loop's thread.  Dropping it says goodbye.
class MilterConnection : private MilterSession::Events {
 public:
  // What the milter says; called from the loop, never inside Flush().  Each may
  // drop the connection.
  class Owner {
   public:
    virtual ~Owner() = default;
    // It can be told things.
    virtual void OnMilterReady() = 0;
    virtual void OnMilterAnswer(MilterAnswer answer) = 0;
    virtual void OnMilterChange(MilterChange change) = 0;
    // writable() holds again.
    virtual void OnMilterWritable() = 0;
    // The last call.  `why` for the log; text from outside is escaped.
    virtual void OnMilterFailed(const std::string& why) = 0;
  };

  // Takes a connected, non-blocking socket.  `timeout`: how long the milter may
  // leave us without an answer, or not read.
  MilterConnection(EventLoop* loop, OwnedFd fd, absl::Duration timeout,
                   Owner* owner);
  ~MilterConnection() override;

  // To be followed by Flush().
  MilterSession& session() { return session_; }
  // Sends what the session has to say.
  void Flush();
  bool writable() const { return stream_->backlog() <= kMaxMilterBacklog; }
  // Nothing more is read from it; its time goes on.
  void PauseReading() { stream_->PauseReading(); }
  void ResumeReading() { stream_->ResumeReading(); }

 private:
  struct Ready {};
  struct Failed {
    std::string why;
  };
  using Event = std::variant<Ready, MilterAnswer, MilterChange, Failed>;

  void OnReady() override { events_.push_back(Ready{}); }
  void OnAnswer(MilterAnswer answer) override {
    events_.push_back(std::move(answer));
  }
  void OnChange(MilterChange change) override;
  void OnProgress() override;
  void OnBroken(const std::string& why) override {
    events_.push_back(Failed{why});
  }

  void OnBytes(absl::string_view bytes);
  void OnClosed(const absl::Status& status);
  void OnDrained();
  void TellOwner();
  void StartTime();
  void Fail(std::string why);

  EventLoop* const loop_;
  const absl::Duration timeout_;
  Owner* const owner_;
  std::unique_ptr<Stream> stream_;
  MilterSession session_{this};
  std::deque<Event> events_;  // heard, and the owner was not told yet
  EventLoop::Timer timer_;
  bool failed_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_MILTER_CONNECTION_H_
