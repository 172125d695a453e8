// A non-blocking stream socket with an input and an output buffer, for both
// ends of SMTP in the load tools.
//
// Reading stops while more than kOutputHigh bytes wait to be written, so that
// a peer that never reads costs a bounded amount of memory; input that its user
// does not consume stops reading at kInputHigh.
#ifndef HOLDFAST_CTL_LOAD_TEXT_CONNECTION_H_
#define HOLDFAST_CTL_LOAD_TEXT_CONNECTION_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "ctl/load/poller.h"

namespace holdfast {

class TextConnection {
 public:
  static constexpr size_t kInputHigh = 256 * 1024;
  static constexpr size_t kOutputHigh = 64 * 1024;

  class User {
   public:
    virtual ~User() = default;
    // There is new input.
    virtual void OnInput() = 0;
    // The peer is gone, or CloseAfterWrite() is done; nothing more will be
    // called.  `why` is for people.
    virtual void OnClosed(const std::string& why) = 0;
  };

  // Takes `fd` (connected or connecting, non-blocking).  `user` must outlive
  // this object and must not delete it from inside a call.
  TextConnection(Poller* poller, int fd, User* user);
  ~TextConnection();
  TextConnection(const TextConnection&) = delete;
  TextConnection& operator=(const TextConnection&) = delete;

  void Write(absl::string_view bytes);
  // Closes once all output is written; input is ignored from now on.
  void CloseAfterWrite();
  // Closes now, without a call of OnClosed.
  void Abort();

  // What was received and not consumed; valid until the next call.
  absl::string_view buffered() const;
  void Consume(size_t bytes);
  // Takes one line, without its line end; false when none is complete.  The
  // line stays valid until control returns to the poller.
  bool ReadLine(absl::string_view* line);

  // Stops and resumes the calls of OnInput (bytes gather up to kInputHigh).
  void Pause(bool paused);

 private:
  void OnEvents(uint32_t events);
  void ReadSome();
  void Flush();
  void UpdateEvents();
  void Closed(const std::string& why);

  Poller* poller_;
  int fd_;
  User* user_;
  std::string input_;
  size_t consumed_ = 0;
  std::string output_;
  size_t written_ = 0;
  bool paused_ = false;
  bool closing_ = false;
  uint32_t events_ = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_LOAD_TEXT_CONNECTION_H_
