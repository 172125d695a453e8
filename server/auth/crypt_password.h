// Passwords against hashes of crypt(3), of every kind the system's library
// knows.  Blocks for as long as the hash takes: never on an event loop.
#ifndef HOLDFAST_SERVER_AUTH_CRYPT_PASSWORD_H_
#define HOLDFAST_SERVER_AUTH_CRYPT_PASSWORD_H_

#include <string>

namespace holdfast {

// Whether the text is a hash that some password could have.  "*", "!...", an
// empty field and what the library does not know are none.
bool IsCryptHash(const std::string& text);

// Safe on any thread.  False also if the library could not compute it.
bool CryptPasswordFits(const std::string& password, const std::string& hash);

// What a hash of the kind and cost that the system prefers begins with: checks
// against it take as long, and no password fits.
std::string PreferredCryptSetting();

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_AUTH_CRYPT_PASSWORD_H_
