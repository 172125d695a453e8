#include "server/auth/crypt_password.h"

#include <crypt.h>
#include <string.h>

#include <memory>

#include "protocol/secret.h"

namespace holdfast {
namespace {

// The traditional hashes have no mark of their own, so any word would look
// like one; they have a fixed length.
constexpr size_t kDesLength = 13;
constexpr size_t kBsdiLength = 20;

}  // namespace

bool IsCryptHash(const std::string& text) {
  if (text.empty() || text.size() >= CRYPT_OUTPUT_SIZE ||
      text.find('\0') != std::string::npos) {
    return false;
  }
  if (text[0] == '_' && text.size() != kBsdiLength) return false;
  if (text[0] != '$' && text[0] != '_' && text.size() != kDesLength) {
    return false;
  }
  const int salt = crypt_checksalt(text.c_str());
  return salt != CRYPT_SALT_INVALID && salt != CRYPT_SALT_METHOD_DISABLED;
}

bool CryptPasswordFits(const std::string& password, const std::string& hash) {
  if (password.find('\0') != std::string::npos || hash.empty()) return false;
  const auto data = std::make_unique<crypt_data>();
  const char* made =
      crypt_rn(password.c_str(), hash.c_str(), data.get(), sizeof(crypt_data));
  const bool fits = made != nullptr && SecretsEqual(made, hash);
  explicit_bzero(data.get(), sizeof(crypt_data));
  return fits;
}

std::string PreferredCryptSetting() {
  char setting[CRYPT_GENSALT_OUTPUT_SIZE] = {};
  // Null: the kind that the library prefers; 0: its usual cost.
  if (crypt_gensalt_rn(nullptr, 0, nullptr, 0, setting, sizeof setting) ==
      nullptr) {
    return "";
  }
  return setting;
}

}  // namespace holdfast
