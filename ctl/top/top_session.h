// The loop of `smtpctl top` on a terminal: keys, signals, the server, and a
// picture every second.
#ifndef HOLDFAST_CTL_TOP_TOP_SESSION_H_
#define HOLDFAST_CTL_TOP_TOP_SESSION_H_

#include <chrono>

#include "ctl/top/terminal.h"
#include "ctl/top/top_keys.h"
#include "ctl/top/top_link.h"
#include "ctl/top/top_model.h"

namespace holdfast {

// Blocks.  One thread, the program's only one: it blocks signals and takes them
// from a descriptor.
class TopSession {
 public:
  static constexpr std::chrono::milliseconds kPeriod{1000};

  // All outlive it; `input` is what keys come from.
  TopSession(TopLink* link, Terminal* terminal, int input)
      : link_(*link), terminal_(*terminal), input_(input) {}
  ~TopSession();
  TopSession(const TopSession&) = delete;
  TopSession& operator=(const TopSession&) = delete;

  // The exit status.  A signal that ends programs ends this one, by that
  // signal, after the terminal is as it was.
  int Run(TopSnapshot first);

 private:
  using Clock = std::chrono::steady_clock;
  enum class State { kRunning, kQuit, kGone, kRefused };

  bool BlockSignals();
  void Turn();
  void AskWhenDue();
  void OnInput();
  void OnSignal();
  void OnLink();
  void OnTrouble(const absl::Status& status);
  void Stop();
  void Draw();

  TopLink& link_;
  Terminal& terminal_;
  const int input_;
  int signals_ = -1;
  State state_ = State::kRunning;
  int signal_ = 0;       // that ended it
  std::string refusal_;  // kRefused: why
  TopModel model_;
  TopKeyReader keys_;
  Clock::time_point next_;  // when to ask again
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TOP_TOP_SESSION_H_
