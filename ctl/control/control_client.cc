#include "ctl/control/control_client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "ctl/control/whole_io.h"
#include "protocol/control_frames.h"
#include "protocol/control_messages.h"

namespace holdfast {
namespace {

int Fail(absl::string_view program, absl::string_view text) {
  WriteAll(STDERR_FILENO, absl::StrCat(program, ": ", text, "\n"));
  return 1;
}

absl::Status ConnectError(const std::string& path, int error) {
  if (error == ENOENT || error == ECONNREFUSED || error == ENOTDIR)
    return absl::UnavailableError(strerror(error));
  return absl::InternalError(absl::StrCat(path, ": ", strerror(error)));
}

// `name` is what is connected to, `path` what is said.
absl::StatusOr<int> ConnectShort(const std::string& name,
                                 const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (name.size() >= sizeof address.sun_path)
    return ConnectError(path, ENAMETOOLONG);
  memcpy(address.sun_path, name.data(), name.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return ConnectError(path, errno);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
    return fd;
  const absl::Status status = ConnectError(path, errno);
  close(fd);
  return status;
}

}  // namespace

absl::StatusOr<int> ConnectUnix(const std::string& path) {
  // A long path is reached through its folder's descriptor.
  const size_t slash = path.rfind('/');
  int folder = -1;
  std::string name = path;
  if (path.size() >= sizeof(sockaddr_un::sun_path) &&
      slash != std::string::npos) {
    folder = open(path.substr(0, slash + 1).c_str(),
                  O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return ConnectError(path, errno);
    name = absl::StrCat("/proc/self/fd/", folder, path.substr(slash));
  }
  absl::StatusOr<int> fd = ConnectShort(name, path);
  if (folder >= 0) close(folder);
  return fd;
}

int RunControlCommand(int fd, const std::vector<std::string>& words,
                      absl::string_view program,
                      const std::function<bool(absl::string_view)>& write) {
  ControlRequest request;
  request.words = words;
  if (!WriteAll(fd, EncodeControlFrame(request)))
    return Fail(program, "pipe closed");
  ControlFrames frames(kMaxControlAnswerFrame);
  for (;;) {
    absl::StatusOr<std::optional<ControlFrame>> frame = frames.Next();
    if (!frame.ok()) return Fail(program, "bad message type");
    if (!frame->has_value()) {
      char buffer[65536];
      const ssize_t n = read(fd, buffer, sizeof buffer);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0)
        return Fail(program, absl::StrCat("read error: ", strerror(errno)));
      if (n == 0) return Fail(program, "pipe closed");
      frames.Append({buffer, static_cast<size_t>(n)});
      continue;
    }
    if ((*frame)->type == ControlText::kType) {
      absl::StatusOr<ControlText> text = Decode<ControlText>((*frame)->payload);
      if (!text.ok()) return Fail(program, "bad message type");
      // Nobody wants the rest (`| head`).
      if (!write(text->text)) return 1;
      if (!WriteAll(fd, EncodeControlFrame(ControlMore{})))
        return Fail(program, "pipe closed");
    } else if ((*frame)->type == ControlDone::kType) {
      absl::StatusOr<ControlDone> done = Decode<ControlDone>((*frame)->payload);
      if (!done.ok()) return Fail(program, "bad message type");
      if (!done->error.empty()) return Fail(program, done->error);
      return done->ok ? 0 : 1;
    } else {
      return Fail(program, "bad message type");
    }
  }
}

}  // namespace holdfast
