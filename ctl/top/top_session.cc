#include "ctl/top/top_session.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ctl/control/whole_io.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

constexpr int kSignals[] = {SIGWINCH, SIGCONT, SIGTSTP, SIGINT,
                            SIGTERM,  SIGHUP,  SIGQUIT};

sigset_t SetOf(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  return set;
}

}  // namespace

TopSession::~TopSession() {
  if (signals_ >= 0) close(signals_);
}

bool TopSession::BlockSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : kSignals) sigaddset(&set, signal);
  if (sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return false;
  signals_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  return signals_ >= 0;
}

int TopSession::Run(TopSnapshot first) {
  if (!BlockSignals() || !terminal_.Enter()) return 1;
  model_.OnSnapshot(std::move(first));
  next_ = Clock::now() + kPeriod;
  Draw();
  while (state_ == State::kRunning) Turn();
  terminal_.Leave();
  if (signal_ != 0) {
    signal(signal_, SIG_DFL);
    raise(signal_);
    const sigset_t set = SetOf(signal_);
    sigprocmask(SIG_UNBLOCK, &set, nullptr);
  }
  if (state_ == State::kRefused)
    WriteAll(STDERR_FILENO, absl::StrCat("smtpctl: ", refusal_, "\n"));
  return state_ == State::kQuit ? 0 : 1;
}

void TopSession::Turn() {
  AskWhenDue();
  pollfd fds[] = {
      {input_, POLLIN, 0}, {signals_, POLLIN, 0}, {link_.fd(), POLLIN, 0}};
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(next_ - Clock::now());
  const int wait = static_cast<int>(
      std::clamp(left, std::chrono::milliseconds(0), kPeriod).count());
  if (poll(fds, 3, wait) < 0) {
    if (errno != EINTR) state_ = State::kGone;
    return;
  }
  if (fds[1].revents != 0) OnSignal();
  if (fds[0].revents != 0) OnInput();
  if (fds[2].revents != 0 && link_.fd() >= 0) OnLink();
}

void TopSession::AskWhenDue() {
  const Clock::time_point now = Clock::now();
  if (now < next_) return;
  next_ = now + kPeriod;
  const absl::Status status = link_.Ask();
  if (!status.ok()) OnTrouble(status);
}

void TopSession::OnTrouble(const absl::Status& status) {
  if (!absl::IsUnavailable(status)) {
    refusal_ = VisEncode(std::string(status.message()));
    state_ = State::kRefused;
    return;
  }
  model_.SetNotice("smtpd is not running; waiting for it   (q quit)");
  Draw();
}

void TopSession::OnLink() {
  absl::StatusOr<std::optional<TopSnapshot>> snapshot = link_.Read();
  if (!snapshot.ok()) return OnTrouble(snapshot.status());
  if (!snapshot->has_value()) return;
  model_.SetNotice("");
  model_.OnSnapshot(**std::move(snapshot));
  Draw();
}

void TopSession::OnInput() {
  char buffer[256];
  const ssize_t n = read(input_, buffer, sizeof buffer);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (n <= 0) {
    state_ = State::kGone;
    return;
  }
  const size_t rows = terminal_.Size().rows;
  const size_t page = rows - std::min(rows, kTopHeadLines + kTopFootLines);
  for (const TopKey& key : keys_.Take({buffer, static_cast<size_t>(n)})) {
    if (!model_.OnKey(key, page)) {
      state_ = State::kQuit;
      return;
    }
  }
  Draw();
}

void TopSession::OnSignal() {
  signalfd_siginfo info = {};
  while (state_ == State::kRunning &&
         read(signals_, &info, sizeof info) == sizeof info) {
    const int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGWINCH || signal == SIGCONT) {
      Draw();
    } else if (signal == SIGTSTP) {
      Stop();
    } else {
      signal_ = signal;
      state_ = State::kGone;
    }
  }
}

// The shell gets its terminal as it was, until it lets us go on.
void TopSession::Stop() {
  terminal_.Leave();
  raise(SIGSTOP);
  if (!terminal_.Enter()) state_ = State::kGone;
  Draw();
}

void TopSession::Draw() {
  if (state_ != State::kRunning) return;
  if (!terminal_.Draw(TopScreen(model_.view(), terminal_.Size())))
    state_ = State::kGone;
}

}  // namespace holdfast
