#include "config/delivery_way.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace holdfast {
namespace {

// The path of a socket, as sockaddr_un holds it with its NUL.
constexpr size_t kMaxSocketPath = 107;
constexpr size_t kMaxHost = 255;

bool HoldsOnly(absl::string_view text, absl::string_view others) {
  for (const char c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) &&
        !absl::StrContains(others, c))
      return false;
  }
  return true;
}

bool ParsePort(absl::string_view text, uint16_t* port) {
  uint32_t number = 0;
  if (text.empty() || !HoldsOnly(text, "") ||
      !absl::SimpleAtoi(text, &number) || number == 0 || number > UINT16_MAX)
    return false;
  *port = static_cast<uint16_t>(number);
  return true;
}

}  // namespace

std::optional<LmtpDestination> ParseLmtpDestination(absl::string_view text) {
  LmtpDestination out;
  if (absl::StartsWith(text, "/")) {
    if (text.size() > kMaxSocketPath || !HoldsOnly(text, "/._-+:@,="))
      return std::nullopt;
    out.path = std::string(text);
    return out;
  }
  absl::string_view rest;
  if (absl::ConsumePrefix(&text, "[")) {
    const size_t end = text.find(']');
    if (end == absl::string_view::npos) return std::nullopt;
    out.host = std::string(text.substr(0, end));
    rest = text.substr(end + 1);
    if (!HoldsOnly(out.host, ".:")) return std::nullopt;
  } else {
    const size_t colon = text.find(':');
    out.host = std::string(text.substr(0, colon));
    if (colon != absl::string_view::npos) rest = text.substr(colon);
    if (!HoldsOnly(out.host, "._-")) return std::nullopt;
  }
  if (out.host.empty() || out.host.size() > kMaxHost) return std::nullopt;
  if (rest.empty()) return out;
  if (!absl::ConsumePrefix(&rest, ":") || !ParsePort(rest, &out.port))
    return std::nullopt;
  return out;
}

DeliveryWay WayOf(const Action& action) {
  switch (action.method) {
    case ActionMethod::kMbox:
      return DeliveryWay::kMailbox;
    case ActionMethod::kMda:
      return DeliveryWay::kCommand;
    case ActionMethod::kMaildir:
      return action.wrapper.empty() ? DeliveryWay::kMailbox
                                    : DeliveryWay::kCommand;
    case ActionMethod::kLmtp:
      return action.wrapper.empty() && ParseLmtpDestination(action.lmtp)
                 ? DeliveryWay::kLmtp
                 : DeliveryWay::kCommand;
    case ActionMethod::kRelay:
    case ActionMethod::kExpandOnly:
    case ActionMethod::kForwardOnly:
      break;
  }
  return DeliveryWay::kNone;
}

std::string HelperCommand(const Action& action, absl::string_view helpers) {
  if (WayOf(action) != DeliveryWay::kCommand) return "";
  if (action.method == ActionMethod::kLmtp) {
    return absl::StrCat(helpers, "/mail.lmtp -d ", action.lmtp,
                        action.lmtp_rcpt_to ? " -r" : " -u");
  }
  if (action.method != ActionMethod::kMaildir) return "";
  std::string command =
      absl::StrCat(helpers, "/mail.maildir", action.maildir_junk ? " -j" : "");
  if (action.maildir_path.empty()) return command;
  absl::string_view path = action.maildir_path;
  const bool home = absl::ConsumePrefix(&path, "~/");
  return absl::StrCat(command, " \"", home ? "%{user.directory}/" : "", path,
                      "\"");
}

}  // namespace holdfast
