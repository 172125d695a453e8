#include "server/parent/system_facts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/door/door.h"

namespace holdfast {
namespace {

constexpr char kMailName[] = "/etc/mailname";

std::string CanonicalName(const std::string& host) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_flags = AI_CANONNAME;
  addrinfo* found = nullptr;
  std::string name = host;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) == 0) {
    if (found->ai_canonname != nullptr) name = found->ai_canonname;
    freeaddrinfo(found);
  }
  return name;
}

}  // namespace

absl::StatusOr<std::string> ReadWholeFile(const std::string& path) {
  auto failed = [](int error) { return absl::NotFoundError(strerror(error)); };
  if (path.find('\0') != std::string::npos) return failed(EINVAL);
  OwnedFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return failed(errno);
  struct stat st;
  if (fstat(fd.get(), &st) != 0) return failed(errno);
  if (S_ISDIR(st.st_mode)) return failed(EISDIR);
  // `smtpd -f <(command)`: whoever writes takes his time.
  if (S_ISFIFO(st.st_mode) && fcntl(fd.get(), F_SETFL, 0) != 0)
    return failed(errno);
  std::string out;
  char buffer[64 << 10];
  ssize_t n;
  while ((n = read(fd.get(), buffer, sizeof buffer)) != 0) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed(errno);
    out.append(buffer, static_cast<size_t>(n));
    if (out.size() > kMaxFileBytes) return failed(EFBIG);
  }
  return out;
}

absl::StatusOr<std::string> FindServerName() {
  const absl::StatusOr<std::string> mailname = ReadWholeFile(kMailName);
  if (mailname.ok()) {
    const std::string line(
        absl::StripAsciiWhitespace(mailname->substr(0, mailname->find('\n'))));
    if (!line.empty()) return line;
  }
  char host[HOST_NAME_MAX + 1] = "";
  if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0')
    return absl::NotFoundError("machine does not have a hostname set");
  const std::string name = host;
  return name.find('.') == std::string::npos ? CanonicalName(name) : name;
}

std::vector<InterfaceAddress> FindInterfaceAddresses() {
  std::vector<InterfaceAddress> out;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return out;
  for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr) continue;
    InterfaceAddress found;
    found.interface = one->ifa_name;
    char text[INET6_ADDRSTRLEN] = "";
    if (one->ifa_addr->sa_family == AF_INET) {
      inet_ntop(AF_INET,
                &reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr,
                text, sizeof text);
    } else if (one->ifa_addr->sa_family == AF_INET6) {
      const auto* in6 = reinterpret_cast<const sockaddr_in6*>(one->ifa_addr);
      inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
      found.inet6 = true;
      found.scope = in6->sin6_scope_id;
    } else {
      continue;
    }
    found.address = text;
    out.push_back(std::move(found));
  }
  freeifaddrs(all);
  return out;
}

absl::StatusOr<std::string> FindOwnFolder() {
  char path[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path);
  if (n <= 0 || n == static_cast<ssize_t>(sizeof path))
    return absl::NotFoundError(
        absl::StrCat("/proc/self/exe: ", strerror(n < 0 ? errno : 0)));
  const std::string exe(path, static_cast<size_t>(n));
  return exe.substr(0, exe.rfind('/'));
}

std::string FindProgram(const std::string& name,
                        const std::vector<std::string>& folders) {
  for (const std::string& folder : folders) {
    const std::string path = absl::StrCat(folder, "/", name);
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  return "";
}

}  // namespace holdfast
