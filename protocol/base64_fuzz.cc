// What is decoded is encoded to the same text again, so there is one text for
// each secret and no other gets through; likewise xtext decodes to no control
// character.
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "protocol/base64.h"
#include "protocol/xtext.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const std::optional<std::string> decoded = DecodeBase64(text);
  if (decoded && absl::Base64Escape(*decoded) != text) __builtin_trap();
  if (DecodeBase64(absl::Base64Escape(text)) != std::string(text))
    __builtin_trap();
  if (const auto plain = DecodeXtext(text)) {
    if (plain->size() > size) __builtin_trap();
    for (const char c : *plain) {
      const auto octet = static_cast<unsigned char>(c);
      if (octet < ' ' || octet == 0x7f) __builtin_trap();
    }
  }
  if (IsValidUtf8Address(text, false) && !IsValidUtf8Address(text, true))
    __builtin_trap();
  if (IsValidUtf8Address(text, true) && !IsValidUtf8(text)) __builtin_trap();
  return 0;
}
