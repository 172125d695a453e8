// What is accepted can be printed and parsed again, and nothing in it could
// end a line or a path.
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "protocol/smtp_path.h"
#include "protocol/xtext.h"

namespace {

void CheckGraphic(absl::string_view text) {
  for (const char c : text) {
    if (c <= ' ' || c > '~') __builtin_trap();
  }
}

// Printable ASCII or UTF-8; blanks and angle brackets only between quotes.
void CheckPath(const holdfast::MailAddress& address, bool utf8) {
  const std::string printed = address.ForPath();
  for (const char c : printed) {
    const auto octet = static_cast<unsigned char>(c);
    if (octet < ' ' || octet == 0x7f || (octet > 0x7f && !utf8))
      __builtin_trap();
  }
  if (!holdfast::IsValidUtf8(printed)) __builtin_trap();
  if (address.user.empty() || address.user[0] != '"') {
    if (printed.find_first_of("<> \"\\") != printed.npos) __builtin_trap();
  }
  if (address.domain.find_first_of("<> \"\\@") != std::string::npos)
    __builtin_trap();
}

void Check(absl::string_view text, const holdfast::PathOptions& options) {
  using namespace holdfast;
  auto sender = ParseMailArgument(text, options);
  if (const auto* path = std::get_if<ReversePath>(&sender)) {
    CheckPath(path->address, path->parameters.smtputf8);
    CheckGraphic(path->parameters.dsn_envid);
    CheckGraphic(path->parameters.auth);
    if (path->parameters.mt_priority &&
        (*path->parameters.mt_priority > kMaxMtPriority ||
         *path->parameters.mt_priority < -kMaxMtPriority))
      __builtin_trap();
    const char* utf8 = path->parameters.smtputf8 ? "> SMTPUTF8" : ">";
    auto again = ParseMailArgument(
        absl::StrCat("<", path->address.ForPath(), utf8), options);
    if (!(std::get<ReversePath>(again).address == path->address))
      __builtin_trap();
  }
  auto recipient = ParseRcptArgument(text, options);
  if (const auto* path = std::get_if<ForwardPath>(&recipient)) {
    if (path->address.user.empty() || path->address.domain.empty())
      __builtin_trap();
    CheckPath(path->address, options.rules.smtputf8);
    if (!options.rules.smtputf8) CheckGraphic(path->parameters.dsn_orcpt);
    if (!IsValidUtf8(path->parameters.dsn_orcpt)) __builtin_trap();
    auto again = ParseRcptArgument(
        absl::StrCat("<", path->address.ForPath(), ">"), options);
    if (!(std::get<ForwardPath>(again).address == path->address))
      __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  holdfast::PathOptions options{"mx.test", {}};
  Check(text, options);
  options.rules.smtputf8 = true;
  Check(text, options);
  options.rules = {};
  options.rules.offered.smtputf8 = false;
  Check(text, options);
  return 0;
}
