#include "server/keys/check_main.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <termios.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "config/parser.h"
#include "protocol/wire.h"
#include "server/door/door.h"
#include "server/keys/tls_check.h"
#include "server/sandbox/sandbox.h"

namespace holdfast {
namespace {

constexpr size_t kMaxPassphrase = 1024;

std::string ReadAll(int fd) {
  std::string out;
  char buffer[64 << 10];
  ssize_t n;
  while ((n = read(fd, buffer, sizeof buffer)) > 0)
    out.append(buffer, static_cast<size_t>(n));
  return out;
}

bool WriteAll(int fd, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = write(fd, text.data() + done, text.size() - done);
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

// Asks on the terminal, without echo; empty without one.
std::string AskPassphrase(int terminal, const std::string& name) {
  termios before = {};
  if (terminal < 0 || tcgetattr(terminal, &before) != 0) return "";
  termios quiet = before;
  quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  // Quiet first: what is typed before is thrown away.
  if (tcsetattr(terminal, TCSAFLUSH, &quiet) != 0 ||
      !WriteAll(terminal, absl::StrCat("passphrase for ", name, ": ")))
    return "";
  std::string line;
  char c;
  while (line.size() < kMaxPassphrase && read(terminal, &c, 1) == 1 &&
         c != '\n')
    line.push_back(c);
  tcsetattr(terminal, TCSAFLUSH, &before);
  WriteAll(terminal, "\n");
  return line;
}

FileReader ReaderOf(const Start& start) {
  return [&start](const std::string& path) -> absl::StatusOr<std::string> {
    for (const Start::File& file : start.files) {
      if (file.path == path && !file.missing) return file.contents;
    }
    return absl::NotFoundError("not given");
  };
}

}  // namespace

int CheckMain() {
  const OwnedFd terminal(open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC));
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  // What the kernel lacks is said when the server starts.
  if (!EnterSandbox(RulesOf(Room::kKeys, "")).ok()) return 1;
  const absl::StatusOr<Start> start = Decode<Start>(ReadAll(STDIN_FILENO));
  if (!start.ok()) return 1;
  ParseOptions options;
  options.path = start->config_path;
  options.server_name = start->server_name;
  options.local_addresses = start->local_addresses;
  options.definitions = start->definitions;
  const ParseResult parsed = ParseConfig(
      options, ReaderOf(*start),
      [](const Table&) { return std::shared_ptr<const TableContents>(); });
  if (parsed.config == nullptr) return 1;
  const TlsChecked checked =
      CheckTls(*parsed.config, start->tls_files, [&](const std::string& name) {
        return AskPassphrase(terminal.get(), name);
      });
  return WriteAll(STDOUT_FILENO, Encode(checked)) ? 0 : 1;
}

}  // namespace holdfast
