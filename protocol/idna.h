// Internationalized domain names (RFC 5890): what DNS, and hosts without
// SMTPUTF8, are told of a domain in UTF-8.  Pure.
#ifndef HOLDFAST_PROTOCOL_IDNA_H_
#define HOLDFAST_PROTOCOL_IDNA_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace holdfast {

bool IsAscii(absl::string_view text);

// `domain` with A-labels ("xn--...") for labels in UTF-8.  What is ASCII comes
// back as it is, unchecked.  kInvalidArgument: it has no such form.
absl::StatusOr<std::string> DomainToAscii(absl::string_view domain);

// A path ("user@domain") of ASCII that means the same: possible if only the
// domain is not ASCII.  kInvalidArgument: there is none.
absl::StatusOr<std::string> PathToAscii(absl::string_view path);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_IDNA_H_
