#include "config/ruleset.h"

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

using Verdict = absl::StatusOr<bool>;

constexpr absl::string_view kLocalSocket = "local";

Verdict Negate(Verdict verdict, bool negated) {
  if (!verdict.ok()) return verdict;
  return *verdict != negated;
}

// Whether `table`, one of those that are always there, finds the key.
Verdict InBuiltin(const Config& config, const std::string& table,
                  TableService service, absl::string_view key) {
  const auto found = config.tables.find(table);
  if (found == config.tables.end()) {
    return absl::InternalError(absl::StrCat("no table ", table));
  }
  return found->second->Check(service, key);
}

// A criterion with a table, without its negation.
Verdict InTable(const Criterion& criterion, TableService service,
                absl::string_view key, char delimiter) {
  return criterion.table->Check(
      criterion.regex ? TableService::kRegex : service, key, delimiter);
}

Verdict MatchesFrom(const Config& config, const Rule& rule,
                    const MailSubject& subject) {
  // What expansion produced comes from here, whoever wrote to it.
  const absl::string_view address =
      subject.internal ? kLocalSocket : absl::string_view(subject.sockaddr);
  switch (rule.from) {
    case Rule::From::kLocal:
      return Negate(
          InBuiltin(config, "<localhost>", TableService::kNetaddr, address),
          rule.from_negated);
    case Rule::From::kAny:
      return Negate(
          InBuiltin(config, "<anyhost>", TableService::kNetaddr, address),
          rule.from_negated);
    case Rule::From::kSocket:
      return Negate(!subject.internal && subject.sockaddr == kLocalSocket,
                    rule.from_negated);
    case Rule::From::kSrc:
      return Negate(InTable(rule.from_table, TableService::kNetaddr, address,
                            subject.sub_addr_delim),
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
  return Negate(InTable(rule.from_table, TableService::kDomain, name,
                        subject.sub_addr_delim),
                rule.from_negated);
}

Verdict MatchesFor(const Config& config, const Rule& rule,
                   const MailSubject& subject) {
  const std::string& domain = subject.dest.domain;
  switch (rule.for_) {
    case Rule::For::kLocal:
      return Negate(
          InBuiltin(config, "<localnames>", TableService::kDomain, domain),
          rule.for_negated);
    case Rule::For::kAny:
      return Negate(
          InBuiltin(config, "<anydestination>", TableService::kDomain, domain),
          rule.for_negated);
    case Rule::For::kDomain:
      break;
  }
  return Negate(InTable(rule.for_table, TableService::kDomain, domain,
                        subject.sub_addr_delim),
                rule.for_negated);
}

Verdict MatchesAuth(const Criterion& criterion, const MailSubject& subject) {
  if (criterion.table == nullptr || !subject.authenticated) {
    return subject.authenticated != criterion.negated;
  }
  const TableService service = subject.username.find('@') == std::string::npos
                                   ? TableService::kString
                                   : TableService::kMailaddr;
  return Negate(
      InTable(criterion, service, subject.username, subject.sub_addr_delim),
      criterion.negated);
}

// An optional criterion that compares `key` with its table.
Verdict MatchesKey(const std::optional<Criterion>& criterion,
                   TableService service, absl::string_view key,
                   const MailSubject& subject) {
  if (!criterion) return true;
  return Negate(InTable(*criterion, service, key, subject.sub_addr_delim),
                criterion->negated);
}

// In the reference's order, since an error ends the search.
Verdict MatchesRule(const Config& config, const Rule& rule,
                    const MailSubject& subject) {
  Verdict verdict =
      MatchesKey(rule.tag, TableService::kString, subject.tag, subject);
  if (!verdict.ok() || !*verdict) return verdict;
  verdict = MatchesFrom(config, rule, subject);
  if (!verdict.ok() || !*verdict) return verdict;
  verdict = MatchesFor(config, rule, subject);
  if (!verdict.ok() || !*verdict) return verdict;
  verdict = MatchesKey(rule.helo, TableService::kDomain, subject.helo, subject);
  if (!verdict.ok() || !*verdict) return verdict;
  if (rule.auth) {
    verdict = MatchesAuth(*rule.auth, subject);
    if (!verdict.ok() || !*verdict) return verdict;
  }
  if (rule.tls && subject.tls == rule.tls->negated) return false;
  verdict = MatchesKey(rule.mail_from, TableService::kMailaddr,
                       subject.sender.ToString(), subject);
  if (!verdict.ok() || !*verdict) return verdict;
  return MatchesKey(rule.rcpt_to, TableService::kMailaddr,
                    subject.dest.ToString(), subject);
}

}  // namespace

absl::StatusOr<const Rule*> FirstMatch(const Config& config,
                                       const MailSubject& subject) {
  for (const Rule& rule : config.rules) {
    const Verdict verdict = MatchesRule(config, rule, subject);
    if (!verdict.ok()) return verdict.status();
    if (*verdict) return &rule;
  }
  return nullptr;
}

}  // namespace holdfast
