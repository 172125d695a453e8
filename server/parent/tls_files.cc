#include "server/parent/tls_files.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config/tls_use.h"
#include "protocol/wire.h"
#include "server/door/door.h"
#include "server/door/keys_messages.h"
#include "server/parent/processes.h"

namespace holdfast {
namespace {

constexpr mode_t kCertificateMode = 0755;
constexpr mode_t kKeyMode = 0740;
// Chains and keys are small; a bundle of authorities is a quarter of this.
constexpr size_t kMaxPemBytes = 1 << 20;

std::string ModeText(mode_t mode) {
  std::string out = "rwxrwxrwx";
  for (int i = 0; i < 9; ++i) {
    if ((mode >> (8 - i) & 1) == 0) out[static_cast<size_t>(i)] = '-';
  }
  return out;
}

absl::StatusOr<std::string> ReadPem(int fd) {
  std::string out;
  char buffer[64 << 10];
  ssize_t n;
  while ((n = read(fd, buffer, sizeof buffer)) != 0) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::UnavailableError(strerror(errno));
    out.append(buffer, static_cast<size_t>(n));
    if (out.size() > kMaxPemBytes)
      return absl::UnavailableError(strerror(EFBIG));
  }
  return out;
}

class Reader {
 public:
  Reader(uid_t owner, std::vector<std::string>* messages)
      : owner_(owner), messages_(messages) {}

  // False: it was said why not.
  bool Read(const std::string& path, mode_t most,
            std::vector<Start::File>* into) {
    for (const Start::File& known : *into) {
      if (known.path == path) return true;
    }
    const OwnedFd fd(
        open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    struct stat st;
    if (!fd || fstat(fd.get(), &st) != 0) return Warn(path, strerror(errno));
    if (!S_ISREG(st.st_mode)) return Warn(path, "not a regular file");
    // The reference insists on root; run as a user, we take that user's.
    if (st.st_uid != 0 && st.st_uid != owner_)
      return Warn(path, absl::StrCat("not owned by uid ", owner_));
    if ((st.st_mode & 0777 & ~most) != 0) {
      return Warn(path, absl::StrCat("insecure permissions: must be at most ",
                                     ModeText(most), " "));
    }
    absl::StatusOr<std::string> contents = ReadPem(fd.get());
    if (!contents.ok()) return Warn(path, contents.status().message());
    Start::File file;
    file.path = path;
    file.contents = *std::move(contents);
    into->push_back(std::move(file));
    return true;
  }

 private:
  bool Warn(const std::string& path, absl::string_view why) {
    messages_->push_back(absl::StrCat("warn:  ", path, ": ", why));
    return false;
  }

  const uid_t owner_;
  std::vector<std::string>* const messages_;
};

using System = TlsUse::System;

// The paths of what `use` names.
std::set<std::string> PathsOf(const Config& config, const TlsUse& use) {
  std::set<std::string> paths;
  for (const std::string& name : use.pkis)
    paths.insert(config.pkis.at(name).cert);
  for (const std::string& name : use.cas)
    paths.insert(config.cas.at(name).cert);
  if (use.system != System::kNo) paths.insert(kSystemAuthorities);
  return paths;
}

System WantsSystemAuthorities(const Config& config) {
  return std::max(TlsOfListeners(config).system, TlsOfRelays(config).system);
}

// An anonymous file, in memory only.
OwnedFd MakeMemory(const std::string& contents) {
  OwnedFd fd(memfd_create("smtpd", MFD_CLOEXEC));
  if (!fd) return fd;
  size_t done = 0;
  while (done < contents.size()) {
    const ssize_t n =
        write(fd.get(), contents.data() + done, contents.size() - done);
    if (n <= 0) return OwnedFd();
    done += static_cast<size_t>(n);
  }
  lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

// The wait status, or -1.
int RunCheck(const std::string& program, int input, int output) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  char* const arguments[] = {const_cast<char*>("smtpd-keys"),
                             const_cast<char*>("check"), nullptr};
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, program.c_str(), &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  int status = -1;
  if (error != 0) return -1;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

}  // namespace

absl::Status ReadTlsFiles(const Config& config, uid_t owner, TlsFiles* files,
                          std::vector<std::string>* messages) {
  Reader reader(owner, messages);
  auto failed = [](absl::string_view what) {
    return absl::UnavailableError(absl::StrCat(what, " file"));
  };
  for (const auto& [name, pki] : config.pkis) {
    if (!reader.Read(pki.cert, kCertificateMode, &files->certificates))
      return failed("load_pki_tree: failed to load certificate");
  }
  for (const auto& [name, ca] : config.cas) {
    if (!reader.Read(ca.cert, kCertificateMode, &files->certificates))
      return failed("load_pki_tree: failed to load CA");
  }
  System system = WantsSystemAuthorities(config);
  if (system == System::kIfThere && access(kSystemAuthorities, R_OK) != 0)
    system = System::kNo;
  if (system != System::kNo &&
      !reader.Read(kSystemAuthorities, kCertificateMode,
                   &files->certificates) &&
      system == System::kYes)
    return failed("load_pki_tree: failed to load CA");
  for (const auto& [name, pki] : config.pkis) {
    if (!reader.Read(pki.key, kKeyMode, &files->keys))
      return failed("load_pki_keys: failed to load key");
  }
  files->for_receive = PathsOf(config, TlsOfListeners(config));
  files->for_relay = PathsOf(config, TlsOfRelays(config));
  return absl::OkStatus();
}

bool NeedsTlsCheck(const Config& config) {
  if (!config.pkis.empty() || !config.cas.empty() ||
      WantsSystemAuthorities(config) > System::kIfThere)
    return true;
  return std::any_of(
      config.actions.begin(), config.actions.end(), [&](const auto& one) {
        const Action& action = one.second;
        return action.method == ActionMethod::kRelay &&
               !(action.ciphers.empty() && action.protocols.empty() &&
                 config.smtp_ciphers.empty());
      });
}

absl::Status CheckTlsFiles(const std::string& program, Start start,
                           TlsFiles* files,
                           std::vector<std::string>* messages) {
  const absl::Status failed =
      absl::UnavailableError(absl::StrCat(program, ": no answer"));
  start.tls_files = files->certificates;
  start.tls_files.insert(start.tls_files.end(), files->keys.begin(),
                         files->keys.end());
  const OwnedFd input = MakeMemory(Encode(start));
  const OwnedFd output = MakeMemory("");
  if (!input || !output) return absl::UnavailableError(strerror(errno));
  const int status = RunCheck(program, input.get(), output.get());
  if (status != 0) {
    if (status == -1) return failed;
    return absl::UnavailableError(
        absl::StrCat(program, " ", HowItEnded(status)));
  }
  lseek(output.get(), 0, SEEK_SET);
  const absl::StatusOr<std::string> answer = ReadPem(output.get());
  if (!answer.ok()) return answer.status();
  absl::StatusOr<TlsChecked> checked = Decode<TlsChecked>(*answer);
  if (!checked.ok()) return failed;
  for (std::string& error : checked->errors)
    messages->push_back(std::move(error));
  for (TlsChecked::Opened& opened : checked->opened) {
    for (Start::File& key : files->keys) {
      if (key.path == opened.path) key.contents = std::move(opened.pem);
    }
  }
  return absl::OkStatus();
}

std::vector<Start::File> TlsFilesFor(Room room, const TlsFiles& files) {
  if (room == Room::kKeys) return files.keys;
  std::vector<Start::File> out;
  if (room != Room::kReceive && room != Room::kRelay) return out;
  const std::set<std::string>& seen =
      room == Room::kReceive ? files.for_receive : files.for_relay;
  for (const Start::File& file : files.certificates) {
    if (seen.count(file.path) != 0) out.push_back(file);
  }
  return out;
}

}  // namespace holdfast
