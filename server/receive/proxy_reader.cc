#include "server/receive/proxy_reader.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

constexpr size_t kPeekBytes = 512;

}  // namespace

ProxyReader::ProxyReader(EventLoop* loop, OwnedFd fd, ProxyVersion version,
                         Done done)
    : fd_(std::move(fd)),
      header_(version),
      done_(std::move(done)),
      timer_(loop->RunAfter(
          kProxyHeaderTimeout,
          [this] { Finish(absl::DeadlineExceededError("timeout")); })),
      watch_(loop->WatchDescriptor(
          fd_.get(), [this] { OnReadable(); }, [] {})) {
  watch_->Want(true, false);
}

void ProxyReader::OnReadable() {
  char bytes[kPeekBytes];
  const ssize_t n = recv(fd_.get(), bytes, sizeof bytes, MSG_PEEK);
  if (n < 0) {
    if (errno == EAGAIN || errno == EINTR) return;
    return Finish(absl::UnavailableError(
        absl::StrCat("IO error (", strerror(errno), ")")));
  }
  if (n == 0) return Finish(absl::UnavailableError("disconnected"));
  absl::string_view rest(bytes, static_cast<size_t>(n));
  const ProxyHeader::State state = header_.Take(&rest);
  // What belongs to the header, off the socket.
  recv(fd_.get(), bytes, static_cast<size_t>(n) - rest.size(), 0);
  switch (state) {
    case ProxyHeader::State::kIncomplete:
      return;
    case ProxyHeader::State::kDone:
      return Finish(
          Client{std::move(fd_), header_.source(), header_.source_port()});
    case ProxyHeader::State::kError:
      return Finish(absl::InvalidArgumentError(
          absl::StrCat("protocol error (", header_.error(), ")")));
  }
}

void ProxyReader::Finish(absl::StatusOr<Client> result) {
  timer_.reset();
  watch_.reset();
  Done done = std::move(done_);
  done(std::move(result));  // may destroy us
}

}  // namespace holdfast
