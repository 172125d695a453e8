// Standard input and output of a filter process: whole lines in and out.
#ifndef HOLDFAST_SERVER_FILTERS_PROCESS_PIPE_H_
#define HOLDFAST_SERVER_FILTERS_PROCESS_PIPE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "protocol/filter_lines.h"
#include "server/loop/event_loop.h"
#include "server/loop/stream.h"
#include "storage/owned_fd.h"

namespace holdfast {

// Used on the loop's thread only.  What is written during a turn leaves in one
// piece at its end.
class ProcessPipe {
 public:
  // None of these may drop the pipe before it returns.
  class Owner {
   public:
    virtual ~Owner() = default;
    // A line it said, without its LF.  False: hear nothing more of it.
    virtual bool OnProcessLine(absl::string_view line) = 0;
    // All lines of a read have been given.
    virtual void OnProcessRead() = 0;
    // It has taken all that was written.
    virtual void OnProcessDrained() = 0;
    // It has closed its output, or said a line without end: nothing more is
    // heard of it.
    virtual void OnProcessClosed() = 0;
    virtual void OnProcessLongLine() = 0;
  };

  // `fd`: a connected stream socket that does not block.
  ProcessPipe(EventLoop* loop, OwnedFd fd, Owner* owner);
  ~ProcessPipe();

  // Where whole lines are appended.
  std::string* out();
  // Octets that it has not taken; taken() are those that it has.
  size_t backlog() const { return out_.size() + stream_->backlog(); }
  uint64_t taken() const { return written_ - stream_->backlog(); }

  // Nothing more is heard of it; what was written before may still go out.
  void Close();

  void PauseReading() { stream_->PauseReading(); }
  void ResumeReading() { stream_->ResumeReading(); }

 private:
  void OnBytes(absl::string_view bytes);
  void Flush();

  EventLoop* loop_;
  Owner* owner_;
  std::unique_ptr<Stream> stream_;
  FilterLineReader reader_;
  bool deaf_ = false;  // nothing more is heard
  std::string out_;
  bool flush_scheduled_ = false;
  uint64_t written_ = 0;  // to stream_
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_PROCESS_PIPE_H_
