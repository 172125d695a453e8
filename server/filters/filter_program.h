// A filter process over all its starts: what it registered, who is to hear
// what it says, and what becomes of it when it does not behave.
//
// Lines of the protocol are protocol/filter_lines.h's; parent starts and kills
// the process (server/door/program_messages.h).  A process that ends, hangs or
// makes no sense is said in the log once, and is lost for all sessions that
// began with it: the next start knows nothing of them.
#ifndef HOLDFAST_SERVER_FILTERS_FILTER_PROGRAM_H_
#define HOLDFAST_SERVER_FILTERS_FILTER_PROGRAM_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "protocol/filter_lines.h"
#include "server/filters/filter.h"
#include "server/filters/process_pipe.h"
#include "server/filters/stderr_log.h"
#include "server/loop/event_loop.h"
#include "storage/owned_fd.h"

namespace holdfast {

// What waits to be taken by a process: text of messages is held back above the
// first (by credits); above the second, which only reports can reach, it does
// not read.
inline constexpr size_t kMaxProcessBacklog = 1 << 20;
inline constexpr size_t kMaxUnreadReports = 16 << 20;
// Text that came from a process and that nobody could take yet: above, the
// process is not read from.  If nothing of it was taken for FilterCare::timeout
// (two processes that wait for each other), messages are refused for now.
inline constexpr size_t kMaxHeldOutput = 8 << 20;
// What waits to be taken by a process: above, who reports waits.
inline constexpr size_t kMaxReportBacklog = 4 << 20;
// Incomplete lines on their way to a process, but for kFreeLineBytes of each:
// above, messages with longer ones are refused for now.
inline constexpr size_t kMaxHeldLines = 64 << 20;
inline constexpr size_t kFreeLineBytes = 64 << 10;
// Octets a minute that nobody asked for: lines for sessions that are gone, text
// of messages that were given up, reports of its own.  More: it floods.
inline constexpr size_t kMaxUnasked = 256 << 20;
// A process that has closed its output has so long to end.
inline constexpr absl::Duration kTimeToEnd = absl::Seconds(5);
// Starts whose standard error is listened to.
inline constexpr size_t kMaxStderrs = 4;

// What programs need of the room.  Outlives them.
struct ProgramSurroundings {
  EventLoop* loop = nullptr;
  // Has parent kill a start (ProgramKill).
  std::function<void(const std::string& name, uint64_t number)> kill;
  // Whether this session is there, whoever its filters are.
  std::function<bool(SessionId)> is_live;
  // Ready, or other masks.
  LinkChanged changed;
  // A program is behind with what it is told, or no longer.
  std::function<void(const std::string& name, bool behind)> behind =
      [](const std::string&, bool) {};
  // A line for the log, escaped.
  std::function<void(const std::string&)> log;
};

// Used on the loop's thread only.
class FilterProgram : private ProcessPipe::Owner {
 public:
  // A session of a link whose filter is this program; its answers.
  class Client {
   public:
    virtual ~Client() = default;
    // The error says what the process did wrong.
    virtual absl::Status OnResult(FilterPhase phase, FilterVerdict verdict,
                                  absl::string_view text) = 0;
    virtual absl::Status OnDataline(absl::string_view line) = 0;
    virtual void OnSays(absl::string_view text) = 0;
    // Lines of text have been given: what they made may go on.
    virtual void OnTextRead() = 0;
    // Text may be written again, after QueueText().
    virtual void OnTextRoom() = 0;
    // Of HoldOutput(), for its message; that message is refused for now.
    virtual size_t held_output() const = 0;
    virtual void GiveTextUp() = 0;
    // The process is lost: nothing of it may be used any more.  All clients
    // hear this before one of them acts on it.
    virtual void NoteLost() = 0;
    // Last call.
    virtual void OnLost() = 0;

   private:
    friend class FilterProgram;
    struct Waiting {
      Client* client;
      absl::Duration since;
    };
    SessionId session_{};
    uint64_t token_ = 0;
    Client* next_ = nullptr;  // of the same session
    std::list<Waiting>::iterator waiting_;
    bool waits_ = false;
    bool queued_ = false;  // for OnTextRoom()
    bool read_ = false;    // for OnTextRead()
  };

  // `processor` outlives this.
  FilterProgram(const Processor* processor, FilterGreeting greeting,
                const ProgramSurroundings* surroundings);
  ~FilterProgram() override;

  // From parent.
  void OnStarted(uint64_t number, OwnedFd io, OwnedFd standard_error);
  void OnEnded(uint64_t number);

  const std::string& name() const { return processor_->name; }
  const FilterCare& care() const { return processor_->care; }
  FilterProtocol protocol() const { return greeting_.protocol; }
  absl::Time now() const { return loop_->Now(); }
  // What it wants is known, or that it is not there.
  bool known() const { return state_ != State::kUnknown; }
  // It has said register|ready, and is there.
  bool ready() const { return state_ == State::kReady; }
  uint32_t phases() const { return phases_; }
  // It has once registered commit: messages that it has had wait for its word.
  bool answers_commit() const { return answers_commit_; }
  uint32_t events_in() const { return events_in_; }
  uint32_t events_out() const { return events_out_; }

  // A session begins; only while ready().  `token`: of its link, with zeros
  // where the phase stands.  False: it is there already, with this token.
  // `*first`: no other link of this session has this program.
  bool Add(Client* client, SessionId session, uint64_t token, bool* first);
  void Remove(Client* client);

  // Where lines are appended; only for clients that are not lost.
  std::string* out() {
    ArmUnreadTimer();
    return pipe_->out();
  }
  // After reports were appended.
  void CheckUnread();
  // An answer is waited for from now on, for FilterCare::timeout at most; again
  // after it came, not.
  void Await(Client* client);
  void Answered(Client* client);

  // Whether text may be appended to out(); if not, OnTextRoom() comes in turn
  // after QueueText().
  bool HasTextRoom() const {
    return text_queue_.empty() && pipe_->backlog() < kMaxProcessBacklog;
  }
  void QueueText(Client* client);
  // What clients hold of text from the process, and of lines to it, has changed
  // by so much.
  void HoldOutput(ptrdiff_t change);
  void HoldLine(ptrdiff_t change) {
    held_lines_ += static_cast<size_t>(change);
  }
  bool HoldsTooMuch() const { return held_lines_ > kMaxHeldLines; }
  // The client will have OnTextRead().
  void NoteTextRead(Client* client);
  // It said something that nobody asked for.
  absl::Status CountUnasked(size_t bytes);

  static constexpr uint64_t kPhaseBits = 15;

 private:
  enum class State {
    kUnknown,  // not there yet; sessions wait
    kDown,     // or started again, and not ready yet
    kReady,
  };

  bool OnProcessLine(absl::string_view line) override;
  void OnProcessRead() override;
  void OnProcessDrained() override;
  void OnProcessClosed() override;
  void OnProcessLongLine() override;

  absl::Status On(const FilterRegistersEvents& line);
  absl::Status On(const FilterRegistersPhase& line);
  absl::Status On(const FilterRegistersReady& line);
  absl::Status On(const FilterResult& line);
  absl::Status On(const FilterDataline& line);
  absl::Status On(const FilterSays& line);

  Client* Find(SessionId session, uint64_t token) const;
  absl::Status NoClient(SessionId session, size_t bytes);
  void Fail(absl::string_view what);
  void FailLater(const char* what);
  void GoDown();
  void ArmAnswerTimer(absl::Duration delay);
  void OnAnswerTimer();
  void ArmUnreadTimer();
  void ArmHeldTimer();
  void GiveTextsUp();
  void UpdateBehind();
  std::string Consequence() const;

  const Processor* processor_;
  FilterGreeting greeting_;
  const ProgramSurroundings* surroundings_;
  EventLoop* loop_;

  State state_ = State::kUnknown;
  uint64_t number_ = 0;  // of the start
  std::unique_ptr<ProcessPipe> pipe_;
  std::list<std::unique_ptr<StderrLog>> stderrs_;
  uint32_t phases_ = 0, events_in_ = 0, events_out_ = 0;
  bool answers_commit_ = false;  // this start, or one before

  absl::flat_hash_map<SessionId, Client*> clients_;
  std::list<Client::Waiting> waiting_;  // oldest first
  std::list<Client::Waiting> spare_;    // nodes for it
  std::deque<Client*> text_queue_;
  std::vector<Client*> read_;  // have had lines of text in this read

  size_t held_output_ = 0;
  size_t held_lines_ = 0;
  bool paused_ = false;
  bool output_taken_ = false;  // since held_timer_ was set
  bool behind_ = false;
  absl::Duration resumed_at_;  // since when we have been reading
  size_t unasked_ = 0;         // since unasked_since_
  absl::Duration unasked_since_;

  EventLoop::Timer start_timer_;   // until it is ready
  EventLoop::Timer answer_timer_;  // while somebody waits
  EventLoop::Timer unread_timer_;  // while there is a backlog
  uint64_t taken_before_ = 0;
  EventLoop::Timer held_timer_;  // while paused_
  EventLoop::Timer end_timer_;   // it has closed its output
  EventLoop::Timer fail_timer_;  // FailLater()
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_FILTER_PROGRAM_H_
