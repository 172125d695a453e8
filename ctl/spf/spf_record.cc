#include "ctl/spf/spf_record.h"

#include <algorithm>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace holdfast {
namespace {

constexpr absl::string_view kVersion = "v=spf1";

bool ConsumeWord(absl::string_view* text, absl::string_view word) {
  if (!absl::StartsWithIgnoreCase(*text, word)) return false;
  text->remove_prefix(word.size());
  return true;
}

// "24", as a number of at most `most`; empty if it is none.
std::string Prefix(absl::string_view text, int most) {
  if (text.empty() || text.size() > 3) return "";
  int n = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return "";
    n = n * 10 + (c - '0');
  }
  return n <= most ? std::to_string(n) : "";
}

// What stands behind `a` or `mx`: [:name][/c4][/c6], also as [/c4][//c6].
std::optional<SpfTerm> HostTerm(SpfTerm::Kind kind, absl::string_view rest,
                                absl::string_view domain) {
  SpfTerm term;
  term.kind = kind;
  const size_t slash = std::min(rest.find('/'), rest.size());
  absl::string_view name = rest.substr(0, slash);
  absl::string_view prefixes = rest.substr(slash);
  if (!name.empty() && !absl::ConsumePrefix(&name, ":")) return std::nullopt;
  term.name = std::string(name.empty() ? domain : name);
  if (absl::ConsumePrefix(&prefixes, "/")) {
    const size_t second = std::min(prefixes.find('/'), prefixes.size());
    term.prefix4 = Prefix(prefixes.substr(0, second), 32);
    absl::string_view six = prefixes.substr(second);
    while (absl::ConsumePrefix(&six, "/")) {
    }
    term.prefix6 = Prefix(six, 128);
  }
  return term;
}

std::optional<SpfTerm> ParseTerm(absl::string_view word,
                                 absl::string_view domain) {
  if (absl::StartsWith(word, "-") || absl::StartsWith(word, "~"))
    return std::nullopt;
  if (!absl::ConsumePrefix(&word, "+")) absl::ConsumePrefix(&word, "?");
  SpfTerm term;
  if (ConsumeWord(&word, "ip4:") || ConsumeWord(&word, "ip6:"))
    term.kind = SpfTerm::Kind::kNetwork;
  else if (ConsumeWord(&word, "include:") || ConsumeWord(&word, "redirect="))
    term.kind = SpfTerm::Kind::kRecord;
  else if (ConsumeWord(&word, "exists:"))
    term.kind = SpfTerm::Kind::kAddress;
  else if (ConsumeWord(&word, "mx"))
    return HostTerm(SpfTerm::Kind::kExchange, word, domain);
  else if (!absl::StartsWithIgnoreCase(word, "all") && ConsumeWord(&word, "a"))
    return HostTerm(SpfTerm::Kind::kAddress, word, domain);
  else
    return std::nullopt;
  if (word.empty()) return std::nullopt;
  term.name = std::string(word);
  return term;
}

}  // namespace

std::vector<SpfTerm> ParseSpfRecord(absl::string_view record,
                                    absl::string_view domain) {
  std::vector<SpfTerm> terms;
  if (!ConsumeWord(&record, kVersion)) return terms;
  if (!record.empty() && record[0] != ' ') return terms;
  for (const absl::string_view word :
       absl::StrSplit(record, ' ', absl::SkipEmpty()))
    if (const std::optional<SpfTerm> term = ParseTerm(word, domain))
      terms.push_back(*term);
  return terms;
}

std::string JoinTxtStrings(absl::string_view rdata) {
  std::string text;
  while (!rdata.empty()) {
    const size_t length = static_cast<unsigned char>(rdata[0]);
    rdata.remove_prefix(1);
    if (length > rdata.size()) break;
    text.append(rdata.data(), length);
    rdata.remove_prefix(length);
  }
  return text;
}

}  // namespace holdfast
