#include "ctl/submission/identity.h"

#include <netdb.h>
#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/ascii.h"

namespace holdfast {

Identity ReadIdentity(bool use_login_name) {
  Identity who;
  who.login = "anonymous";
  const passwd* entry = nullptr;
  if (use_login_name) {
    const char* login = getlogin();
    entry = login != nullptr ? getpwnam(login) : nullptr;
    if (entry != nullptr && entry->pw_uid != getuid()) entry = nullptr;
  }
  if (entry == nullptr) entry = getpwuid(getuid());
  if (entry == nullptr) return who;
  who.login = entry->pw_name;
  who.full_name = NameOfGecos(entry->pw_gecos, entry->pw_name);
  who.home = entry->pw_dir;
  return who;
}

std::string NameOfGecos(absl::string_view gecos, absl::string_view login) {
  std::string name;
  for (const char c : gecos.substr(0, gecos.find(','))) {
    if (c != '&') {
      name += c;
    } else if (!login.empty()) {
      name += absl::ascii_toupper(login[0]);
      name.append(login.data() + 1, login.size() - 1);
    }
  }
  return name;
}

std::string ReadMailName() {
  std::ifstream file("/etc/mailname");
  std::string line;
  if (std::getline(file, line)) {
    absl::StripAsciiWhitespace(&line);
    if (!line.empty()) return line;
  }
  char host[256] = {};
  if (gethostname(host, sizeof host - 1) != 0) return "";
  addrinfo hints = {};
  hints.ai_flags = AI_CANONNAME;
  addrinfo* found = nullptr;
  std::string name = host;
  if (getaddrinfo(host, nullptr, &hints, &found) == 0) {
    if (found->ai_canonname != nullptr) name = found->ai_canonname;
    freeaddrinfo(found);
  }
  return name;
}

}  // namespace holdfast
