// What is accepted can be printed and parsed again, and nothing in it could
// end a line or a path.
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "protocol/smtp_path.h"

namespace {

void CheckGraphic(absl::string_view text) {
  for (const char c : text) {
    if (c <= ' ' || c > '~') __builtin_trap();
  }
}

void CheckPath(absl::string_view text) {
  CheckGraphic(text);
  if (text.find_first_of("<>") != text.npos) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const PathOptions options{"mx.test", true};

  auto sender = ParseMailArgument(text, options);
  if (const auto* path = std::get_if<ReversePath>(&sender)) {
    const std::string printed = path->address.ForPath();
    CheckPath(printed);
    CheckGraphic(path->parameters.dsn_envid);
    auto again = ParseMailArgument(absl::StrCat("<", printed, ">"), options);
    if (!(std::get<ReversePath>(again).address == path->address))
      __builtin_trap();
  }
  auto recipient = ParseRcptArgument(text, options);
  if (const auto* path = std::get_if<ForwardPath>(&recipient)) {
    const std::string printed = path->address.ForPath();
    if (path->address.user.empty() || path->address.domain.empty())
      __builtin_trap();
    CheckPath(printed);
    CheckGraphic(path->parameters.dsn_orcpt);
    auto again = ParseRcptArgument(absl::StrCat("<", printed, ">"), options);
    if (!(std::get<ForwardPath>(again).address == path->address))
      __builtin_trap();
  }
  return 0;
}
