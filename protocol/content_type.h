// The field Content-Type (RFC 2045 section 5.1), as far as one must know it to
// find the parts of a message.
#ifndef HOLDFAST_PROTOCOL_CONTENT_TYPE_H_
#define HOLDFAST_PROTOCOL_CONTENT_TYPE_H_

#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

struct ContentType {
  std::string type, subtype;  // in lower case; both empty: not to be read
  std::string boundary;       // the parameter; empty: none
};

// Of the field's value, unfolded or not.  Comments are skipped.
ContentType ParseContentType(absl::string_view value);

// The one word of a field such as Content-Transfer-Encoding, in lower case.
std::string ParseMimeWord(absl::string_view value);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_CONTENT_TYPE_H_
