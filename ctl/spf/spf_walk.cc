#include "ctl/spf/spf_walk.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/vis.h"

namespace holdfast {

bool SpfWalk::Walk(const std::string& domain) {
  Add({SpfTerm::Kind::kRecord, domain, "", ""});
  for (int lookups = 0; !left_.empty(); ++lookups) {
    if (lookups == kMaxLookups) {
      warn_(absl::StrCat(VisEncode(domain), " needs more than ", kMaxLookups,
                         " lookups"));
      left_.clear();
      return false;
    }
    const SpfTerm term = std::move(left_.front());
    left_.pop_front();
    Follow(term);
  }
  return true;
}

void SpfWalk::Add(SpfTerm term) {
  if (term.kind == SpfTerm::Kind::kNetwork) return Print(term.name, "");
  const std::string key = absl::StrCat(static_cast<int>(term.kind), " ",
                                       absl::AsciiStrToLower(term.name), "/",
                                       term.prefix4, "/", term.prefix6);
  if (!seen_.insert(key).second) return;
  if (absl::StrContains(term.name, "%"))
    return warn_(absl::StrCat("lookup_record: ", VisEncode(term.name),
                              " contains macros and can't be resolved"));
  left_.push_back(std::move(term));
}

void SpfWalk::Follow(const SpfTerm& term) {
  switch (term.kind) {
    case SpfTerm::Kind::kNetwork:
      return;
    case SpfTerm::Kind::kAddress:
      return FollowAddress(term);
    case SpfTerm::Kind::kExchange:
      for (std::string& host : dns_->Exchanges(term.name))
        Add({SpfTerm::Kind::kAddress, std::move(host), term.prefix4,
             term.prefix6});
      return;
    case SpfTerm::Kind::kRecord:
      for (const std::string& text : dns_->Texts(term.name))
        for (SpfTerm& found : ParseSpfRecord(text, term.name))
          Add(std::move(found));
  }
}

void SpfWalk::FollowAddress(const SpfTerm& term) {
  for (const std::string& address : dns_->Addresses4(term.name))
    Print(address, term.prefix4);
  for (const std::string& address : dns_->Addresses6(term.name))
    Print(address, term.prefix6);
}

void SpfWalk::Print(const std::string& address, const std::string& prefix) {
  const std::string line =
      VisEncode(prefix.empty() ? address : absl::StrCat(address, "/", prefix));
  if (printed_.insert(line).second) print_(line);
}

}  // namespace holdfast
