#include "ctl/top/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "ctl/control/whole_io.h"

namespace holdfast {
namespace {

// The other screen, without cursor and without wrapping at the right; back.
constexpr absl::string_view kBegin = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
constexpr absl::string_view kEnd = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";
constexpr absl::string_view kHome = "\x1b[H";
constexpr absl::string_view kPlain = "\x1b[0m";
constexpr absl::string_view kBold = "\x1b[1m";
constexpr absl::string_view kInverse = "\x1b[7m";
constexpr absl::string_view kClearLine = "\x1b[K";
constexpr absl::string_view kClearBelow = "\x1b[J";
// A larger one is not believed.
constexpr size_t kMaxSide = 1000;

size_t Side(size_t told, size_t otherwise) {
  return told == 0 ? otherwise : std::min(told, kMaxSide);
}

}  // namespace

std::string DrawLines(const std::vector<TopLine>& lines) {
  std::string text(kHome);
  absl::string_view gap;
  for (const TopLine& line : lines) {
    absl::StrAppend(&text, gap);
    gap = "\r\n";
    if (line.style == TopLine::Style::kBold) absl::StrAppend(&text, kBold);
    if (line.style == TopLine::Style::kInverse)
      absl::StrAppend(&text, kInverse);
    absl::StrAppend(&text, line.text, kPlain, kClearLine);
  }
  return absl::StrCat(text, kClearBelow);
}

bool Terminal::IsOne(int input, int output) {
  return isatty(input) && isatty(output);
}

bool Terminal::Enter() {
  termios settings = {};
  if (tcgetattr(input_, &settings) != 0) return false;
  const termios before = settings;
  settings.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  settings.c_oflag &= ~static_cast<tcflag_t>(OPOST);
  settings.c_cc[VMIN] = 1;
  settings.c_cc[VTIME] = 0;
  if (tcsetattr(input_, TCSANOW, &settings) != 0) return false;
  before_ = before;
  return WriteAll(output_, kBegin);
}

void Terminal::Leave() {
  if (!before_) return;
  WriteAll(output_, kEnd);
  tcsetattr(input_, TCSANOW, &*before_);
  before_.reset();
}

TopSize Terminal::Size() const {
  winsize size = {};
  if (ioctl(output_, TIOCGWINSZ, &size) != 0) size = {};
  const TopSize usual;
  return {Side(size.ws_row, usual.rows), Side(size.ws_col, usual.columns)};
}

bool Terminal::Draw(const std::vector<TopLine>& lines) {
  return WriteAll(output_, DrawLines(lines));
}

}  // namespace holdfast
