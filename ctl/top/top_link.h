// `smtpctl top` and the server: one snapshot after the other over the control
// socket.
#ifndef HOLDFAST_CTL_TOP_TOP_LINK_H_
#define HOLDFAST_CTL_TOP_TOP_LINK_H_

#include <cstddef>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/control_frames.h"
#include "protocol/top_snapshot.h"

namespace holdfast {

// One thread.  After an error it is closed, and Ask() connects anew.
class TopLink {
 public:
  // The control socket; destinations in a snapshot.
  TopLink(std::string path, size_t limit)
      : path_(std::move(path)), limit_(limit) {}
  ~TopLink() { Close(); }
  TopLink(const TopLink&) = delete;
  TopLink& operator=(const TopLink&) = delete;

  // To be polled for reading; -1: closed.
  int fd() const { return fd_; }
  // Asks for a snapshot, unless one is being waited for.  kUnavailable: the
  // server is away.
  absl::Status Ask();
  // Something can be read.  nullopt: not all of it has come.  kUnavailable: the
  // server has gone; kPermissionDenied: it refuses.
  absl::StatusOr<std::optional<TopSnapshot>> Read();
  // Blocks until the answer is there.
  absl::StatusOr<TopSnapshot> Get();

 private:
  void Close();
  absl::Status Lost(absl::string_view why);
  absl::StatusOr<std::optional<TopSnapshot>> TakeFrames();
  absl::Status OnFrame(const ControlFrame& frame);

  const std::string path_;
  const size_t limit_;
  int fd_ = -1;
  bool waiting_ = false;  // for the end of an answer
  std::optional<ControlFrames> frames_;
  std::optional<TopSnapshot> snapshot_;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TOP_TOP_LINK_H_
