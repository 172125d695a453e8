// The words of `protocols` and `ciphers` (reference part 1, section 1.14).
// Pure; what a cipher list means is known to the TLS library only.
#ifndef HOLDFAST_CONFIG_TLS_OPTIONS_H_
#define HOLDFAST_CONFIG_TLS_OPTIONS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace holdfast {

struct TlsProtocols {
  bool tls12 = true;
  bool tls13 = true;
};

// `text` as in the configuration: words divided by `,` or `:`, each of which
// may be negated by `!`; empty: the default, both.  Versions before 1.2 are
// known by name and never spoken.  Fails with "failed to parse protocols \"X\""
// for an unknown word, or if nothing is left to speak.
absl::StatusOr<TlsProtocols> ParseTlsProtocols(absl::string_view text);

// What a word like `secure` stands for, in the language of cipher lists;
// anything else is such a list already.  Empty: the default.
std::string TlsCipherList(absl::string_view text);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_TLS_OPTIONS_H_
