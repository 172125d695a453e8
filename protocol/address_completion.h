// The addresses in a From, To or Cc header (reference part 1, section 4.10):
// "joe" becomes "joe@mx.test", or another address altogether (masquerade).
#ifndef HOLDFAST_PROTOCOL_ADDRESS_COMPLETION_H_
#define HOLDFAST_PROTOCOL_ADDRESS_COMPLETION_H_

#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

// `value` is what stands behind the colon of the header, folded as it came.
// Appends it to `*out` with "@domain" put into each address that has none; the
// rest, folding included, is unchanged.  What is not understood (unbalanced
// quotes, comments or brackets) stays as it is.  The members of a group are
// addresses like others; the reference damages groups.
void CompleteAddresses(absl::string_view value, absl::string_view domain,
                       std::string* out);

// Puts `address` in the place of every address in `value`: of what stands in
// < >, or of the last word.  What is not understood is not kept, or there would
// be a way to keep an address: the new one alone stands there then.
void ReplaceAddresses(absl::string_view value, absl::string_view address,
                      std::string* out);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_ADDRESS_COMPLETION_H_
