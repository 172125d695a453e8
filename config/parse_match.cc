// `match` (reference part 1, section 1.10).
#include <utility>

#include "absl/strings/str_cat.h"
#include "config/directives.h"

namespace holdfast {

// A rule with what has been said about it.
struct DirectiveParser::MatchOptions {
  Rule rule;
  bool from = false;
  bool for_ = false;
};

bool DirectiveParser::ParseMatch() {
  MatchOptions options;
  Rule& rule = options.rule;
  rule.position = lexer_.position();
  bool taken = true;
  while (taken) {
    taken = false;
    if (!ParseCriterion(&options, &taken)) return false;
  }
  if (TakeKeyword("reject")) {
    rule.reject = true;
  } else {
    if (!ExpectKeyword("action") || !ExpectString(&rule.action)) return false;
    if (config_->actions.count(rule.action) == 0) {
      return FailWithHint(absl::StrCat("no such dispatcher: ", rule.action),
                          rule.action, KeysOf(config_->actions));
    }
  }
  config_->rules.push_back(std::move(rule));
  return true;
}

bool DirectiveParser::ParseCriterion(MatchOptions* options, bool* taken) {
  Rule& rule = options->rule;
  const bool negated = TakeChar('!');
  *taken = true;
  if (TakeKeyword("from")) return ParseFrom(options, negated);
  if (TakeKeyword("for")) return ParseFor(options, negated);
  if (TakeKeyword("tag")) {
    return ParsePlainCriterion(&rule.tag, "tag", negated, kLists,
                               TableService::kString, "tag");
  }
  if (TakeKeyword("helo")) {
    return ParsePlainCriterion(&rule.helo, "helo", negated, kLists,
                               TableService::kDomain, "helo");
  }
  if (TakeKeyword("mail-from")) {
    return ParsePlainCriterion(&rule.mail_from, "mail-from", negated,
                               kListsAndMaps, TableService::kMailaddr,
                               "mail-from");
  }
  if (TakeKeyword("rcpt-to")) {
    return ParsePlainCriterion(&rule.rcpt_to, "rcpt-to", negated, kListsAndMaps,
                               TableService::kMailaddr, "rcpt-to");
  }
  if (TakeKeyword("tls")) {
    if (rule.tls) return Fail("tls already specified for this rule");
    rule.tls.emplace().negated = negated;
    return true;
  }
  if (TakeKeyword("auth")) {
    return ParsePlainCriterion(&rule.auth, "auth", negated, kListsAndMaps,
                               TableService::kString, "auth");
  }
  *taken = false;
  return !negated || SyntaxError();
}

bool DirectiveParser::ParseCriterionTable(Criterion* criterion, Kinds kinds,
                                          TableService service,
                                          absl::string_view lookups) {
  if (criterion->regex) NoteRegex(criterion->table);
  return CheckUse(criterion->table, kinds,
                  criterion->regex ? TableService::kRegex : service, lookups);
}

// After its word: [regex] T; for `auth` the table may be missing.
bool DirectiveParser::ParsePlainCriterion(std::optional<Criterion>* criterion,
                                          const std::string& word, bool negated,
                                          Kinds kinds, TableService service,
                                          absl::string_view lookups) {
  Criterion parsed;
  parsed.negated = negated;
  parsed.regex = TakeKeyword("regex");
  const bool bare = word == "auth" && !parsed.regex && !PeekTableArgument();
  if (!bare && !ParseTableArgument(&parsed.table)) return false;
  if (*criterion) {
    return Fail(absl::StrCat(word, " already specified for this rule"));
  }
  if (!bare && !ParseCriterionTable(&parsed, kinds, service, lookups)) {
    return false;
  }
  *criterion = std::move(parsed);
  return true;
}

bool DirectiveParser::ParseFrom(MatchOptions* options, bool negated) {
  Rule& rule = options->rule;
  const bool again = options->from;
  options->from = true;
  const std::string duplicate = "from already specified for this rule";
  struct Simple {
    absl::string_view word;
    Rule::From from;
  };
  for (const Simple& simple :
       {Simple{"local", Rule::From::kLocal}, Simple{"any", Rule::From::kAny},
        Simple{"socket", Rule::From::kSocket}}) {
    if (!TakeKeyword(simple.word)) continue;
    if (again) return Fail(duplicate);
    rule.from = simple.from;
    rule.from_negated = negated;
    return true;
  }
  const bool src = TakeKeyword("src");
  if (src || TakeKeyword("rdns")) {
    Criterion& table = rule.from_table;
    Criterion parsed;
    parsed.regex = TakeKeyword("regex");
    const bool bare = !src && !parsed.regex && !PeekTableArgument();
    if (!bare && !ParseTableArgument(&parsed.table)) return false;
    if (again) return Fail(duplicate);
    if (!bare && !ParseCriterionTable(
                     &parsed, kLists,
                     src ? TableService::kNetaddr : TableService::kDomain,
                     src ? "from" : "rdns")) {
      return false;
    }
    table = std::move(parsed);
    rule.from = src ? Rule::From::kSrc : Rule::From::kRdns;
    rule.from_negated = negated;
    return true;
  }
  // The two that are `from any` and something else; the negation is of that.
  const bool auth = TakeKeyword("auth");
  if (!auth && !TakeKeyword("mail-from")) return SyntaxError();
  rule.from = Rule::From::kAny;
  rule.from_negated = false;
  if (again) return Fail(duplicate);
  if (auth) {
    return ParsePlainCriterion(&rule.auth, "auth", negated, kLists,
                               TableService::kString, "from");
  }
  return ParsePlainCriterion(&rule.mail_from, "mail-from", negated,
                             kListsAndMaps, TableService::kMailaddr, "from");
}

bool DirectiveParser::ParseFor(MatchOptions* options, bool negated) {
  Rule& rule = options->rule;
  const bool again = options->for_;
  options->for_ = true;
  const std::string duplicate = "for already specified for this rule";
  const bool local = TakeKeyword("local");
  if (local || TakeKeyword("any")) {
    if (again) return Fail(duplicate);
    rule.for_ = local ? Rule::For::kLocal : Rule::For::kAny;
    rule.for_negated = negated;
    return true;
  }
  if (TakeKeyword("rcpt-to")) {
    rule.for_ = Rule::For::kAny;
    rule.for_negated = false;
    if (again) return Fail(duplicate);
    return ParsePlainCriterion(&rule.rcpt_to, "rcpt-to", negated, kListsAndMaps,
                               TableService::kMailaddr, "for");
  }
  if (!ExpectKeyword("domain")) return false;
  Criterion parsed;
  parsed.regex = TakeKeyword("regex");
  if (!ParseTableArgument(&parsed.table)) return false;
  if (again) return Fail(duplicate);
  if (!ParseCriterionTable(&parsed, kLists, TableService::kDomain, "'for'")) {
    return false;
  }
  rule.for_table = std::move(parsed);
  rule.for_ = Rule::For::kDomain;
  rule.for_negated = negated;
  return true;
}

}  // namespace holdfast
