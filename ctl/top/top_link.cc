#include "ctl/top/top_link.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "ctl/control/control_client.h"
#include "ctl/control/whole_io.h"
#include "protocol/control_messages.h"

namespace holdfast {

void TopLink::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
  waiting_ = false;
  frames_.reset();
  snapshot_.reset();
}

absl::Status TopLink::Lost(absl::string_view why) {
  Close();
  return absl::UnavailableError(why);
}

absl::Status TopLink::Ask() {
  if (waiting_) return absl::OkStatus();
  if (fd_ < 0) {
    absl::StatusOr<int> fd = ConnectUnix(path_);
    if (!fd.ok()) return fd.status();
    fd_ = *fd;
    frames_.emplace(kMaxControlAnswerFrame);
  }
  ControlRequest request;
  request.words = {"top", absl::StrCat(limit_)};
  if (!WriteAll(fd_, EncodeControlFrame(request))) return Lost("pipe closed");
  waiting_ = true;
  return absl::OkStatus();
}

absl::Status TopLink::OnFrame(const ControlFrame& frame) {
  if (frame.type == ControlText::kType) {
    absl::StatusOr<ControlText> text = Decode<ControlText>(frame.payload);
    if (!text.ok()) return Lost("bad message type");
    absl::StatusOr<TopSnapshot> snapshot = Decode<TopSnapshot>(text->text);
    if (!snapshot.ok()) return Lost("bad message type");
    snapshot_ = *std::move(snapshot);
    if (!WriteAll(fd_, EncodeControlFrame(ControlMore{})))
      return Lost("pipe closed");
    return absl::OkStatus();
  }
  absl::StatusOr<ControlDone> done = Decode<ControlDone>(frame.payload);
  if (frame.type != ControlDone::kType || !done.ok())
    return Lost("bad message type");
  waiting_ = false;
  if (done->ok && snapshot_) return absl::OkStatus();
  const std::string error = done->error.empty() ? "no answer" : done->error;
  Close();
  return absl::PermissionDeniedError(error);
}

absl::StatusOr<std::optional<TopSnapshot>> TopLink::TakeFrames() {
  while (waiting_) {
    absl::StatusOr<std::optional<ControlFrame>> frame = frames_->Next();
    if (!frame.ok()) return Lost("bad message type");
    if (!frame->has_value()) return std::optional<TopSnapshot>();
    const absl::Status status = OnFrame(**frame);
    if (!status.ok()) return status;
  }
  return std::exchange(snapshot_, std::nullopt);
}

absl::StatusOr<std::optional<TopSnapshot>> TopLink::Read() {
  char buffer[65536];
  const ssize_t n = read(fd_, buffer, sizeof buffer);
  if (n < 0 && errno == EINTR) return std::optional<TopSnapshot>();
  if (n < 0) return Lost(strerror(errno));
  if (n == 0 || !waiting_) return Lost("pipe closed");
  frames_->Append({buffer, static_cast<size_t>(n)});
  return TakeFrames();
}

absl::StatusOr<TopSnapshot> TopLink::Get() {
  const absl::Status asked = Ask();
  if (!asked.ok()) return asked;
  for (;;) {
    absl::StatusOr<std::optional<TopSnapshot>> snapshot = Read();
    if (!snapshot.ok()) return snapshot.status();
    if (snapshot->has_value()) return **std::move(snapshot);
  }
}

}  // namespace holdfast
