// SHA-1, for what others have laid down with it (SRS).  Not for anything new.
#ifndef HOLDFAST_SERVER_TLS_SHA1_H_
#define HOLDFAST_SERVER_TLS_SHA1_H_

#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

std::string Sha1(absl::string_view bytes);  // 20 octets

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TLS_SHA1_H_
