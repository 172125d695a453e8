#include "config/milter_socket.h"

#include <arpa/inet.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace holdfast {
namespace {

constexpr char kForms[] =
    "a milter's socket is unix:/PATH, inet:PORT@HOST or inet6:PORT@HOST";

absl::StatusOr<MilterSocket> PathOf(absl::string_view path) {
  if (path.empty() || path[0] != '/')
    return absl::InvalidArgumentError("the path must begin with /");
  if (path.size() > kMaxMilterPath) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the path of a socket has at most ", kMaxMilterPath, " characters"));
  }
  MilterSocket socket;
  socket.path = std::string(path);
  return socket;
}

absl::StatusOr<uint16_t> PortOf(absl::string_view text) {
  uint32_t port = 0;
  if (text.empty() || !absl::ascii_isdigit(text[0]) ||
      !absl::SimpleAtoi(text, &port) || port == 0 || port > 65535)
    return absl::InvalidArgumentError("the port is a number from 1 to 65535");
  return static_cast<uint16_t>(port);
}

// In the form that everybody writes; empty: it is none.
std::string AddressOf(absl::string_view host, bool inet6) {
  if (host == "localhost") return inet6 ? "::1" : "127.0.0.1";
  if (inet6 && absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  in6_addr bytes = {};
  char text[INET6_ADDRSTRLEN] = "";
  const int family = inet6 ? AF_INET6 : AF_INET;
  if (inet_pton(family, std::string(host).c_str(), &bytes) != 1) return "";
  return inet_ntop(family, &bytes, text, sizeof text);
}

// PORT@HOST
absl::StatusOr<MilterSocket> InternetOf(absl::string_view text, bool inet6) {
  MilterSocket socket;
  socket.inet6 = inet6;
  const size_t at = text.find('@');
  if (at == absl::string_view::npos)
    return absl::InvalidArgumentError(
        absl::StrCat(kForms, "; the port comes first"));
  absl::StatusOr<uint16_t> port = PortOf(text.substr(0, at));
  if (!port.ok()) return port.status();
  socket.port = *port;
  socket.address = AddressOf(text.substr(at + 1), inet6);
  if (socket.address.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the host must be an IPv", inet6 ? "6" : "4",
                     " address or localhost: names are not looked up"));
  }
  return socket;
}

}  // namespace

std::string MilterSocket::Text() const {
  if (!path.empty()) return absl::StrCat("unix:", path);
  return absl::StrCat(inet6 ? "inet6:" : "inet:", port, "@", address);
}

absl::StatusOr<MilterSocket> ParseMilterSocket(absl::string_view text) {
  if (text.find('\0') != absl::string_view::npos)
    return absl::InvalidArgumentError(kForms);
  if (absl::StartsWith(text, "/")) return PathOf(text);
  if (absl::ConsumePrefix(&text, "unix:") ||
      absl::ConsumePrefix(&text, "local:"))
    return PathOf(text);
  if (absl::ConsumePrefix(&text, "inet6:")) return InternetOf(text, true);
  if (absl::ConsumePrefix(&text, "inet:")) return InternetOf(text, false);
  return absl::InvalidArgumentError(kForms);
}

}  // namespace holdfast
