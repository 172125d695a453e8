#include "storage/queue_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <optional>

#include "absl/strings/str_cat.h"
#include "storage/owned_fd.h"

namespace holdfast {
namespace {

// Longer lines are no keys.
constexpr size_t kMaxLine = 1024;

// An octet at a time: what follows is another's.  `end`, too, ends it, and is
// its last.
std::string ReadLine(int fd, std::optional<char> end = std::nullopt) {
  std::string line;
  char c = 0;
  while (line.size() < kMaxLine) {
    const ssize_t n = read(fd, &c, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n != 1 || c == '\n') break;
    line.push_back(c);
    if (c == end) break;
  }
  return line;
}

absl::StatusOr<std::string> AskOnTerminal(absl::string_view prompt) {
  const OwnedFd terminal(open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC));
  termios before = {};
  if (terminal.get() < 0 || tcgetattr(terminal.get(), &before) != 0) {
    return absl::NotFoundError(
        absl::StrCat(prompt, "there is no terminal to ask for it"));
  }
  termios quiet = before;
  quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ISIG);
  // ^C ends the line instead of the process, which would leave a terminal
  // that does not echo.
  const char interrupt = static_cast<char>(before.c_cc[VINTR]);
  quiet.c_cc[VEOL] = before.c_cc[VINTR];
  // Quiet first: what is typed before is thrown away.
  tcsetattr(terminal.get(), TCSAFLUSH, &quiet);
  std::string line;
  if (write(terminal.get(), prompt.data(), prompt.size()) > 0)
    line = ReadLine(terminal.get(), interrupt);
  tcsetattr(terminal.get(), TCSAFLUSH, &before);
  if (write(terminal.get(), "\n", 1) < 0) line.clear();
  if (line.empty() || line.back() != interrupt) return line;
  explicit_bzero(line.data(), line.size());
  return absl::CancelledError(absl::StrCat(prompt, "interrupted"));
}

absl::StatusOr<std::string> ReadKey(const std::optional<std::string>& where,
                                    absl::string_view prompt) {
  if (!where.has_value()) return std::string();
  absl::StatusOr<std::string> key = *where;
  if (where->empty()) {
    key = AskOnTerminal(prompt);
  } else if (*where == "stdin" || *where == "-") {
    key = ReadLine(STDIN_FILENO);
  }
  if (key.ok() && key->size() != kStoreKeyBytes) {
    explicit_bzero(key->data(), key->size());
    return absl::InvalidArgumentError(
        "crypto_setup: invalid key for queue encryption");
  }
  return key;
}

}  // namespace

absl::StatusOr<StoreKeys> ReadStoreKeys(
    const std::optional<std::string>& current,
    const std::optional<std::string>& previous) {
  StoreKeys keys;
  auto key = ReadKey(current, "queue key: ");
  if (!key.ok()) return key.status();
  keys.current = *std::move(key);
  key = ReadKey(previous, "previous queue key: ");
  if (!key.ok()) return key.status();
  keys.previous = *std::move(key);
  return keys;
}

}  // namespace holdfast
