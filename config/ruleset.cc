#include "config/ruleset.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace holdfast {
namespace {

using Verdict = absl::StatusOr<bool>;

// Whom the criteria ask.
struct Asking {
  const Config& config;
  TableAnswers* answers;
};

constexpr absl::string_view kLocalSocket = "local";
// Of a table without a name.
constexpr size_t kMaxShownEntries = 4;

Verdict Negate(Verdict verdict, bool negated) {
  if (!verdict.ok()) return verdict;
  return *verdict != negated;
}

// Whether `table`, one of those that are always there, finds the key.
Verdict InBuiltin(const Asking& ask, const std::string& table,
                  TableService service, absl::string_view key) {
  const auto found = ask.config.tables.find(table);
  if (found == ask.config.tables.end()) {
    return absl::InternalError(absl::StrCat("no table ", table));
  }
  return found->second->Check(service, key);
}

// A criterion with a table, without its negation.
Verdict InTable(const Asking& ask, const Criterion& criterion,
                TableService service, absl::string_view key, char delimiter) {
  return ask.answers->Check(*criterion.table,
                            criterion.regex ? TableService::kRegex : service,
                            key, delimiter);
}

Verdict MatchesFrom(const Asking& ask, const Rule& rule,
                    const MailSubject& subject) {
  // What expansion produced comes from here, whoever wrote to it.
  const absl::string_view address =
      subject.internal ? kLocalSocket : absl::string_view(subject.sockaddr);
  switch (rule.from) {
    case Rule::From::kLocal:
      return Negate(
          InBuiltin(ask, "<localhost>", TableService::kNetaddr, address),
          rule.from_negated);
    case Rule::From::kAny:
      return Negate(
          InBuiltin(ask, "<anyhost>", TableService::kNetaddr, address),
          rule.from_negated);
    case Rule::From::kSocket:
      return Negate(!subject.internal && subject.sockaddr == kLocalSocket,
                    rule.from_negated);
    case Rule::From::kSrc:
      return Negate(InTable(ask, rule.from_table, TableService::kNetaddr,
                            address, subject.sub_addr_delim),
                    rule.from_negated);
    case Rule::From::kRdns:
      break;
  }
  const bool known = !subject.rdns.empty() && subject.rdns != "<unknown>";
  if (rule.from_table.table == nullptr) {
    return Negate(known && !subject.internal, rule.from_negated);
  }
  // Who has no name matches neither a table nor its negation.
  if (!subject.internal && !known) return false;
  const absl::string_view name =
      subject.internal ? kLocalSocket : absl::string_view(subject.rdns);
  return Negate(InTable(ask, rule.from_table, TableService::kDomain, name,
                        subject.sub_addr_delim),
                rule.from_negated);
}

Verdict MatchesFor(const Asking& ask, const Rule& rule,
                   const MailSubject& subject) {
  const std::string& domain = subject.dest.domain;
  switch (rule.for_) {
    case Rule::For::kLocal:
      return Negate(
          InBuiltin(ask, "<localnames>", TableService::kDomain, domain),
          rule.for_negated);
    case Rule::For::kAny:
      return Negate(
          InBuiltin(ask, "<anydestination>", TableService::kDomain, domain),
          rule.for_negated);
    case Rule::For::kDomain:
      break;
  }
  return Negate(InTable(ask, rule.for_table, TableService::kDomain, domain,
                        subject.sub_addr_delim),
                rule.for_negated);
}

Verdict MatchesAuth(const Asking& ask, const Criterion& criterion,
                    const MailSubject& subject) {
  if (criterion.table == nullptr || !subject.authenticated) {
    return subject.authenticated != criterion.negated;
  }
  const TableService service = subject.username.find('@') == std::string::npos
                                   ? TableService::kString
                                   : TableService::kMailaddr;
  return Negate(InTable(ask, criterion, service, subject.username,
                        subject.sub_addr_delim),
                criterion.negated);
}

// An optional criterion that compares `key` with its table.
Verdict MatchesKey(const Asking& ask, const std::optional<Criterion>& criterion,
                   TableService service, absl::string_view key,
                   const MailSubject& subject) {
  if (!criterion) return true;
  return Negate(InTable(ask, *criterion, service, key, subject.sub_addr_delim),
                criterion->negated);
}

std::string CriterionText(absl::string_view word, bool negated,
                          const Criterion& criterion) {
  return absl::StrCat(negated ? "! " : "", word,
                      criterion.regex ? " regex" : "",
                      criterion.table == nullptr
                          ? ""
                          : absl::StrCat(" ", TableText(*criterion.table)));
}

std::string OptionalText(absl::string_view word,
                         const std::optional<Criterion>& criterion) {
  return CriterionText(word, criterion->negated, *criterion);
}

std::string FromText(const Rule& rule) {
  const char* words[] = {"from local", "from any", "from socket", "from src",
                         "from rdns"};
  return CriterionText(words[static_cast<int>(rule.from)], rule.from_negated,
                       rule.from_table);
}

std::string ForText(const Rule& rule) {
  const char* words[] = {"for local", "for any", "for domain"};
  return CriterionText(words[static_cast<int>(rule.for_)], rule.for_negated,
                       rule.for_table);
}

std::string FromKey(const Rule& rule, const MailSubject& subject) {
  if (subject.internal) return std::string(kLocalSocket);
  return rule.from == Rule::From::kRdns ? subject.rdns : subject.sockaddr;
}

// One group of criteria: whether the rule has it, what it says, what it is
// compared with, and the comparison.
struct Group {
  bool (*stated)(const Rule&);
  std::string (*text)(const Rule&);
  std::string (*key)(const Rule&, const MailSubject&);
  Verdict (*matches)(const Asking&, const Rule&, const MailSubject&);
};

// In the reference's order, since an error ends the search.
constexpr Group kGroups[] = {
    {[](const Rule& r) { return r.tag.has_value(); },
     [](const Rule& r) { return OptionalText("tag", r.tag); },
     [](const Rule&, const MailSubject& s) { return s.tag; },
     [](const Asking& a, const Rule& r, const MailSubject& s) {
       return MatchesKey(a, r.tag, TableService::kString, s.tag, s);
     }},
    {[](const Rule&) { return true; }, FromText, FromKey, MatchesFrom},
    {[](const Rule&) { return true; }, ForText,
     [](const Rule&, const MailSubject& s) { return s.dest.domain; },
     MatchesFor},
    {[](const Rule& r) { return r.helo.has_value(); },
     [](const Rule& r) { return OptionalText("helo", r.helo); },
     [](const Rule&, const MailSubject& s) { return s.helo; },
     [](const Asking& a, const Rule& r, const MailSubject& s) {
       return MatchesKey(a, r.helo, TableService::kDomain, s.helo, s);
     }},
    {[](const Rule& r) { return r.auth.has_value(); },
     [](const Rule& r) { return OptionalText("auth", r.auth); },
     [](const Rule&, const MailSubject& s) {
       return s.authenticated ? s.username : "";
     },
     [](const Asking& a, const Rule& r, const MailSubject& s) {
       return MatchesAuth(a, *r.auth, s);
     }},
    {[](const Rule& r) { return r.tls.has_value(); },
     [](const Rule& r) { return OptionalText("tls", r.tls); },
     [](const Rule&, const MailSubject&) { return std::string(); },
     [](const Asking&, const Rule& r, const MailSubject& s) {
       return Verdict(s.tls != r.tls->negated);
     }},
    {[](const Rule& r) { return r.mail_from.has_value(); },
     [](const Rule& r) { return OptionalText("mail-from", r.mail_from); },
     [](const Rule&, const MailSubject& s) { return s.sender.ToString(); },
     [](const Asking& a, const Rule& r, const MailSubject& s) {
       return MatchesKey(a, r.mail_from, TableService::kMailaddr,
                         s.sender.ToString(), s);
     }},
    {[](const Rule& r) { return r.rcpt_to.has_value(); },
     [](const Rule& r) { return OptionalText("rcpt-to", r.rcpt_to); },
     [](const Rule&, const MailSubject& s) { return s.dest.ToString(); },
     [](const Asking& a, const Rule& r, const MailSubject& s) {
       return MatchesKey(a, r.rcpt_to, TableService::kMailaddr,
                         s.dest.ToString(), s);
     }},
};

Verdict MatchesRule(const Asking& ask, const Rule& rule,
                    const MailSubject& subject, RuleTrace* trace) {
  for (const Group& group : kGroups) {
    if (!group.stated(rule)) continue;
    const Verdict verdict = group.matches(ask, rule, subject);
    if (trace != nullptr) {
      trace->criteria.push_back(
          {group.text(rule), group.key(rule, subject), verdict});
    }
    if (!verdict.ok() || !*verdict) return verdict;
  }
  return true;
}

}  // namespace

absl::StatusOr<const Rule*> FirstMatch(const Config& config,
                                       const MailSubject& subject,
                                       std::vector<RuleTrace>* trace,
                                       TableAnswers* answers) {
  TableAnswers none;
  const Asking ask{config, answers != nullptr ? answers : &none};
  for (const Rule& rule : config.rules) {
    RuleTrace* of_rule = nullptr;
    if (trace != nullptr) {
      of_rule = &trace->emplace_back();
      of_rule->rule = &rule;
    }
    const Verdict verdict = MatchesRule(ask, rule, subject, of_rule);
    if (!verdict.ok()) return verdict.status();
    if (*verdict) return &rule;
  }
  return nullptr;
}

std::string TableText(const Table& table) {
  const bool inline_list = absl::StartsWith(table.name(), "<dynamic:");
  if (!inline_list || table.entries().size() > kMaxShownEntries) {
    const std::string& name = table.name();
    return absl::StartsWith(name, "<") ? name : absl::StrCat("<", name, ">");
  }
  std::vector<std::string> shown;
  for (const auto& [key, value] : table.entries()) {
    shown.push_back(value.empty() ? absl::StrCat("\"", key, "\"")
                                  : absl::StrCat("\"", key, "\" = ..."));
  }
  if (shown.size() == 1 && table.kind() == Table::Kind::kList) return shown[0];
  return absl::StrCat("{ ", absl::StrJoin(shown, ", "), " }");
}

std::string RuleText(const Rule& rule) {
  std::string text = "match";
  for (const Group& group : kGroups) {
    if (group.stated(rule)) absl::StrAppend(&text, " ", group.text(rule));
  }
  if (rule.reject) return absl::StrCat(text, " reject");
  return absl::StrCat(text, " action \"", rule.action, "\"");
}

}  // namespace holdfast
