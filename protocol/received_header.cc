#include "protocol/received_header.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/mail_date.h"
#include "protocol/vis.h"

namespace holdfast {

std::string BracketedAddress(absl::string_view address) {
  if (absl::StartsWith(address, "[")) return std::string(address);
  return absl::StrCat("[", address, "]");
}

std::string ReceivedHeader(const ReceivedFacts& facts) {
  std::string header = "Received: ";
  if (!facts.mask_source) {
    absl::StrAppend(&header, "from ", facts.helo, " (", facts.rdns, " ",
                    BracketedAddress(facts.address), ")");
  }
  absl::StrAppend(&header, "\n\tby ", facts.by, " (Holdfast) with ",
                  facts.smtputf8   ? "UTF8"
                  : facts.extended ? "E"
                                   : "",
                  "SMTP", facts.tls.empty() ? "" : "S",
                  facts.authenticated ? "A" : "", " id ",
                  ToString(facts.message));
  if (!facts.tls.empty()) {
    absl::StrAppend(&header, " (", facts.tls, ")");
    if (facts.tell_auth && facts.authenticated)
      absl::StrAppend(&header, " auth=yes user=",
                      VisEncode(facts.username, VisSpace::kEncode));
    else if (facts.tell_auth)
      absl::StrAppend(&header, " auth=no");
  }
  if (!facts.recipient.empty())
    absl::StrAppend(&header, "\n\tfor <", facts.recipient, ">");
  absl::StrAppend(&header, ";\n\t", FormatMailDate(facts.now, facts.zone),
                  "\n");
  return header;
}

}  // namespace holdfast
