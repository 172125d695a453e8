// Which rule decides about an envelope (smtpd.conf(5), `match`; reference part
// 1, section 1.10).
#ifndef HOLDFAST_CONFIG_RULESET_H_
#define HOLDFAST_CONFIG_RULESET_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/config.h"
#include "config/table_answers.h"
#include "protocol/mail_address.h"

namespace holdfast {

// What the criteria look at.
struct MailSubject {
  std::string tag;
  std::string sockaddr;  // "local", "192.0.2.1", "[2001:db8::1]"
  std::string rdns;      // "<unknown>" if there is none
  std::string helo;
  bool authenticated = false;  // true for the local socket
  std::string username;        // may be empty although authenticated
  bool tls = false;
  MailAddress sender;
  MailAddress dest;
  bool internal = false;  // a product of expansion: "from" is local
  char sub_addr_delim = '+';
};

// How one criterion was answered.
struct CriterionTrace {
  std::string criterion;  // "! from src <internals>"
  std::string key;        // what was looked for; may be empty
  absl::StatusOr<bool> answer = false;
};

// The criteria of a rule up to the first that did not say yes.
struct RuleTrace {
  const Rule* rule = nullptr;
  std::vector<CriterionTrace> criteria;

  bool Matched() const {
    return !criteria.empty() && criteria.back().answer.ok() &&
           *criteria.back().answer;
  }
};

// The first rule whose criteria all say yes; null if there is none.  An error
// of a table ends the search (a later rule must not win because a table could
// not be read).  What the programs of tables say comes from `answers`
// (config/table_answers.h): if it then misses one, the result counts for
// nothing.  Null: such tables are kUnavailable.  `trace` may be null; else it
// hears of each rule that was looked at.
absl::StatusOr<const Rule*> FirstMatch(const Config& config,
                                       const MailSubject& subject,
                                       std::vector<RuleTrace>* trace = nullptr,
                                       TableAnswers* answers = nullptr);

// "<name>"; of a table that was written where it is used, what is in it.
std::string TableText(const Table& table);

// "match from local for domain <domains> action "out"": the rule with its
// defaults; of a table without a name, what is in it.
std::string RuleText(const Rule& rule);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_RULESET_H_
