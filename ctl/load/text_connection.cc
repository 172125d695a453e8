#include "ctl/load/text_connection.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

namespace holdfast {

TextConnection::TextConnection(Poller* poller, int fd, User* user)
    : poller_(poller), fd_(fd), user_(user), events_(EPOLLIN) {
  poller_->Add(fd_, events_, [this](uint32_t events) { OnEvents(events); });
}

TextConnection::~TextConnection() { Abort(); }

void TextConnection::Abort() {
  if (fd_ < 0) return;
  poller_->Remove(fd_);
  close(fd_);
  fd_ = -1;
}

void TextConnection::Write(absl::string_view bytes) {
  if (fd_ < 0 || closing_) return;
  output_.append(bytes.data(), bytes.size());
  Flush();
  UpdateEvents();
}

void TextConnection::CloseAfterWrite() {
  if (fd_ < 0) return;
  closing_ = true;
  Flush();
  UpdateEvents();
}

absl::string_view TextConnection::buffered() const {
  return absl::string_view(input_).substr(consumed_);
}

void TextConnection::Consume(size_t bytes) { consumed_ += bytes; }

bool TextConnection::ReadLine(absl::string_view* line) {
  const absl::string_view rest = buffered();
  const size_t end = rest.find('\n');
  if (end == absl::string_view::npos) return false;
  *line = rest.substr(0, end);
  if (!line->empty() && line->back() == '\r') line->remove_suffix(1);
  Consume(end + 1);
  return true;
}

void TextConnection::Pause(bool paused) {
  paused_ = paused;
  if (fd_ >= 0) UpdateEvents();
}

void TextConnection::OnEvents(uint32_t events) {
  if (events & EPOLLOUT) Flush();
  if (fd_ >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) ReadSome();
  if (fd_ >= 0) UpdateEvents();
}

void TextConnection::ReadSome() {
  if (consumed_ > 0) {
    input_.erase(0, consumed_);
    consumed_ = 0;
  }
  std::array<char, 65536> buffer;
  const ssize_t got = recv(fd_, buffer.data(), buffer.size(), 0);
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR) return;
    return Closed(strerror(errno));
  }
  if (got == 0) return Closed("closed by peer");
  if (closing_) return;
  input_.append(buffer.data(), got);
  if (!paused_) user_->OnInput();
}

void TextConnection::Flush() {
  while (written_ < output_.size()) {
    const ssize_t put = send(fd_, output_.data() + written_,
                             output_.size() - written_, MSG_NOSIGNAL);
    // An error shows up again when reading: only one place reports it.
    if (put < 0) break;
    written_ += put;
  }
  if (written_ == output_.size()) {
    output_.clear();
    written_ = 0;
    if (closing_) Closed("");
  }
}

void TextConnection::UpdateEvents() {
  if (fd_ < 0) return;
  uint32_t wanted = 0;
  const size_t waiting = output_.size() - written_;
  if (waiting > 0) wanted |= EPOLLOUT;
  if (closing_ || (waiting < kOutputHigh && buffered().size() < kInputHigh)) {
    wanted |= EPOLLIN;
  }
  if (wanted == events_) return;
  events_ = wanted;
  poller_->Modify(fd_, wanted);
}

void TextConnection::Closed(const std::string& why) {
  Abort();
  user_->OnClosed(why);
}

}  // namespace holdfast
