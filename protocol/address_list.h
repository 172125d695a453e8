// Lists of addresses as headers and command lines hold them (RFC 822 section
// 6.1): comments, quoted strings, <...> with an optional route, groups.
#ifndef HOLDFAST_PROTOCOL_ADDRESS_LIST_H_
#define HOLDFAST_PROTOCOL_ADDRESS_LIST_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace holdfast {

// A longer address is a syntax error (RFC 5321 section 4.5.3.1.3 has 256; this
// leaves room for quoting).
inline constexpr size_t kMaxListedAddress = 512;

// The addresses in `text`, in order: "local@domain", or "local" where no
// domain was given; quoting is kept as it stands, routes and comments are gone.
// Folded text is fine.  kInvalidArgument, "syntax error in address", for
// anything else, `<>` and control characters included.  Linear in `text`.
absl::StatusOr<std::vector<std::string>> ParseAddressList(
    absl::string_view text);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_ADDRESS_LIST_H_
