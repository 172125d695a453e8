// A terminal that is drawn on as a whole: ANSI sequences (ECMA-48, xterm), and
// the settings of termios(3), which are put back at the end.
#ifndef HOLDFAST_CTL_TOP_TERMINAL_H_
#define HOLDFAST_CTL_TOP_TERMINAL_H_

#include <termios.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "ctl/top/top_screen.h"

namespace holdfast {

// What is written to draw the lines; pure.
std::string DrawLines(const std::vector<TopLine>& lines);

// Blocks.  One thread.
class Terminal {
 public:
  // Keeps neither descriptor.
  Terminal(int input, int output) : input_(input), output_(output) {}
  ~Terminal() { Leave(); }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  static bool IsOne(int input, int output);

  // The other screen, no echo, keys at once; signals' keys work on.  False:
  // errno says why.
  bool Enter();
  // As it was before.
  void Leave();
  // What it is now; 24 by 80 if it does not know.
  TopSize Size() const;
  // False: it is gone.
  bool Draw(const std::vector<TopLine>& lines);

 private:
  const int input_, output_;
  std::optional<termios> before_;  // set: between Enter() and Leave()
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TOP_TERMINAL_H_
