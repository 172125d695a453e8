// What an SPF record (RFC 7208 section 4.5 and 5) lets send, as far as
// `smtpctl spf walk` needs it.  Pure.
#ifndef HOLDFAST_CTL_SPF_SPF_RECORD_H_
#define HOLDFAST_CTL_SPF_SPF_RECORD_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace holdfast {

struct SpfTerm {
  enum class Kind {
    kNetwork,   // ip4, ip6: `name` as written
    kAddress,   // a, exists
    kExchange,  // mx
    kRecord,    // include, redirect
  };
  Kind kind = Kind::kNetwork;
  std::string name;
  // Of the addresses found: "24" and "64"; empty: none.
  std::string prefix4, prefix6;
};

// The terms of a record of `domain` that may let something send: those with
// `-` and `~` are left out, unknown ones too.  Empty: it is no SPF record.
std::vector<SpfTerm> ParseSpfRecord(absl::string_view record,
                                    absl::string_view domain);

// The text of a TXT record: its strings joined (RFC 7208 section 3.3).  What
// stands behind a string that is cut short is left out.
std::string JoinTxtStrings(absl::string_view rdata);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_SPF_SPF_RECORD_H_
