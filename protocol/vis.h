// Text from outside, made safe for one line of a log or a listing.
#ifndef HOLDFAST_PROTOCOL_VIS_H_
#define HOLDFAST_PROTOCOL_VIS_H_

#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

enum class VisSpace {
  kKeep,    // a space stays a space
  kEncode,  // a space becomes \s: the value stands in a list of words
};

// The encoding of vis(3) with VIS_CSTYLE: graphic ASCII stays, a backslash is
// doubled, and all else becomes printable: \r \n \t \a \b \v \f \0, \^A for
// other controls, \M-x and \M^A for octets above 127.  vis(3) with VIS_SAFE
// lets a tab, a bell, a backspace and a carriage return through; here they are
// encoded too.
std::string VisEncode(absl::string_view text, VisSpace space = VisSpace::kKeep);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_VIS_H_
