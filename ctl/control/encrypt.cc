#include "ctl/control/encrypt.h"

#include <crypt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "ctl/control/whole_io.h"
#include "protocol/secret.h"

namespace holdfast {
namespace {

constexpr const char* kKinds[] = {"$y$", "$gy$", "$7$", "$2a$", "$2b$", "$2y$",
                                  "$6$", "$5$",  "$3$", "$2$",  "$1$"};

}  // namespace

absl::StatusOr<std::string> CryptHash(const std::string& password) {
  const auto data = std::make_unique<crypt_data>();
  for (const char* kind : kKinds) {
    char setting[CRYPT_GENSALT_OUTPUT_SIZE] = {};
    if (crypt_gensalt_rn(kind, 0, nullptr, 0, setting, sizeof setting) ==
        nullptr) {
      continue;
    }
    const char* made =
        crypt_rn(password.c_str(), setting, data.get(), sizeof(crypt_data));
    if (made == nullptr) break;
    std::string hash = made;
    explicit_bzero(data.get(), sizeof(crypt_data));
    return hash;
  }
  explicit_bzero(data.get(), sizeof(crypt_data));
  return absl::InvalidArgumentError("crypt: the password can't be hashed");
}

int EncryptLines(
    const std::function<absl::StatusOr<std::string>(const std::string&)>&
        hash) {
  char* line = nullptr;
  size_t room = 0;
  int status = 0;
  while (status == 0) {
    ssize_t size = getline(&line, &room, stdin);
    if (size <= 0) break;
    if (line[size - 1] == '\n') --size;
    Secret password(absl::string_view(line, static_cast<size_t>(size)));
    explicit_bzero(line, room);
    const absl::StatusOr<std::string> made =
        password.text().find('\0') == std::string::npos
            ? hash(password.text())
            : absl::InvalidArgumentError("a password can't hold a NUL");
    if (!made.ok()) {
      WriteAll(STDERR_FILENO,
               absl::StrCat("smtpctl: ", std::string(made.status().message()),
                            "\n"));
      status = 1;
    } else if (!WriteAll(STDOUT_FILENO, absl::StrCat(*made, "\n"))) {
      status = 1;
    }
  }
  free(line);
  return status;
}

}  // namespace holdfast
