// Base64 as AUTH has it (RFC 4954 section 4).
#ifndef HOLDFAST_PROTOCOL_BASE64_H_
#define HOLDFAST_PROTOCOL_BASE64_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

// RFC 4648 section 4 and nothing else: complete groups of four, '=' at the end
// only, no bits left over.  nullopt: not that.
std::optional<std::string> DecodeBase64(absl::string_view text);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_BASE64_H_
