// Encodings of values in SMTP: xtext (RFC 3461 section 4), its like for UTF-8
// addresses (RFC 6533 section 3), and what is UTF-8 at all.
#ifndef HOLDFAST_PROTOCOL_XTEXT_H_
#define HOLDFAST_PROTOCOL_XTEXT_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

// RFC 3461 section 4: graphic ASCII without '+' and '=', or "+" and two
// hexadecimal digits in upper case.  What is encoded is no control character.
bool IsValidXtext(absl::string_view text);
// What it stands for.  nullopt: not valid.
std::optional<std::string> DecodeXtext(absl::string_view text);

// The value of "ORCPT=utf-8;...": graphic ASCII, "\x{HEX}" for characters;
// `raw`: UTF-8 may stand for itself, too.
bool IsValidUtf8Address(absl::string_view text, bool raw);

// UTF-8 (RFC 3629) without control characters.
bool IsValidUtf8(absl::string_view text);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_XTEXT_H_
