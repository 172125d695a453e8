// `action` (reference part 1, section 1.8).
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "config/directives.h"

namespace holdfast {
namespace {

// What of a relay URL this version cannot do, or nothing.
absl::string_view UnsupportedScheme(absl::string_view url) {
  const size_t end = url.find("://");
  if (end == absl::string_view::npos) return "";
  const absl::string_view scheme = url.substr(0, end);
  for (const absl::string_view later : {"smtp+tls", "smtps", "lmtp"}) {
    if (absl::EqualsIgnoreCase(scheme, later)) return later;
  }
  return "";
}

}  // namespace

// An action with what has been said about it.
struct DirectiveParser::ActionOptions {
  Action action;
  std::set<std::string> seen;

  bool First(const std::string& option) { return seen.insert(option).second; }
};

bool DirectiveParser::ParseAction() {
  ActionOptions options;
  Action& action = options.action;
  if (!ExpectString(&action.name)) return false;
  action.position = lexer_.position();
  if (config_->actions.count(action.name) > 0) {
    return Fail(absl::StrCat("dispatcher already declared with that name: ",
                             action.name));
  }
  if (!ParseActionMethod(&options)) return false;
  bool taken = true;
  while (taken) {
    taken = false;
    const bool ok = action.IsLocal() ? ParseLocalOption(&options, &taken)
                                     : ParseRelayOption(&options, &taken);
    if (!ok) return false;
  }
  while (TakeKeyword("ttl")) {
    absl::Duration ttl;
    std::string text;
    if (action.ttl) {
      return ExpectString(&text) &&
             Fail("ttl already specified for this dispatcher");
    }
    if (!ExpectDelay("invalid ttl delay", &ttl)) return false;
    action.ttl = ttl;
  }
  if (action.IsLocal() && action.userbase == nullptr) {
    action.userbase = config_->tables["<getpwnam>"];
  }
  const std::string name = action.name;
  config_->actions.emplace(name, std::move(action));
  return true;
}

bool DirectiveParser::ParseActionMethod(ActionOptions* options) {
  Action& action = options->action;
  if (TakeKeyword("mbox")) {
    action.method = ActionMethod::kMbox;
    return true;
  }
  if (TakeKeyword("relay")) {
    action.method = ActionMethod::kRelay;
    return true;
  }
  if (TakeKeyword("maildir")) {
    action.method = ActionMethod::kMaildir;
    if (Peek().kind == Token::Kind::kString) action.maildir_path = Take().text;
    action.maildir_junk = TakeKeyword("junk");
    return true;
  }
  std::string text;
  if (TakeKeyword("lmtp")) {
    action.method = ActionMethod::kLmtp;
    if (!ExpectString(&text)) return false;
    TakeKeyword("rcpt-to");
    return NotYet("\"lmtp\" as a delivery method");
  }
  if (TakeKeyword("mda")) {
    action.method = ActionMethod::kMda;
    return ExpectString(&text) && NotYet("\"mda\" as a delivery method");
  }
  if (TakeKeyword("expand-only")) {
    action.method = ActionMethod::kExpandOnly;
    return NotYet("\"expand-only\" as a delivery method");
  }
  if (TakeKeyword("forward-only")) {
    action.method = ActionMethod::kForwardOnly;
    return NotYet("\"forward-only\" as a delivery method");
  }
  return SyntaxError();
}

bool DirectiveParser::ParseLocalOption(ActionOptions* options, bool* taken) {
  if (Peek().kind != Token::Kind::kKeyword) return true;
  const std::string word = Peek().text;
  *taken = true;
  if (word == "alias" || word == "virtual" || word == "userbase") {
    Take();
    return ParseMapping(options, word);
  }
  if (TakeKeyword("user")) return ParseActionUser(options);
  if (TakeKeyword("wrapper")) {
    std::string name;
    if (!ExpectString(&name)) return false;
    if (wrappers_.count(name) == 0) {
      return Fail(absl::StrCat("no mda wrapper with that name: ", name));
    }
    return NotYet("\"wrapper\" on an action");
  }
  *taken = false;
  return true;
}

bool DirectiveParser::ParseMapping(ActionOptions* options,
                                   const std::string& word) {
  TableRef table;
  if (!ParseTableArgument(&table)) return false;
  Action& action = options->action;
  // Aliases and virtual names exclude each other.
  if (word == "userbase") {
    if (action.userbase != nullptr) {
      return Fail("userbase mapping already specified for this dispatcher");
    }
  } else if (action.alias != nullptr || action.virtual_ != nullptr) {
    return Fail(absl::StrCat(action.alias != nullptr ? "alias" : "virtual",
                             " mapping already specified for this dispatcher"));
  }
  const TableService service =
      word == "userbase" ? TableService::kUserinfo : TableService::kAlias;
  if (!CheckUse(table, kMaps, service, word)) return false;
  (word == "alias"     ? action.alias
   : word == "virtual" ? action.virtual_
                       : action.userbase) = table;
  return true;
}

bool DirectiveParser::ParseActionUser(ActionOptions* options) {
  std::string name;
  if (!ExpectString(&name)) return false;
  Action& action = options->action;
  if (!action.user.empty()) {
    return Fail("user already specified for this dispatcher");
  }
  switch (action.method) {
    case ActionMethod::kMbox:
      return Fail("user may not be specified for this dispatcher");
    case ActionMethod::kForwardOnly:
      return Fail("user may not be specified for forward-only");
    case ActionMethod::kExpandOnly:
      return Fail("user may not be specified for expand-only");
    default:
      action.user = name;
      return true;
  }
}

bool DirectiveParser::ParseRelayOption(ActionOptions* options, bool* taken) {
  if (Peek().kind != Token::Kind::kKeyword) return true;
  const std::string word = Peek().text;
  static const std::set<std::string> kStrings = {
      "helo", "mail-from", "pki", "ca", "ciphers", "protocols"};
  static const std::set<std::string> kTables = {"helo-src", "src", "domain",
                                                "auth"};
  static const std::set<std::string> kFlags = {"tls", "srs", "filter"};
  *taken = true;
  if (TakeKeyword("host")) return ParseRelayHost(options);
  if (TakeKeyword("backup")) return ParseRelayBackup(options);
  if (kStrings.count(word) > 0) {
    Take();
    return ParseRelayString(options, word);
  }
  if (kTables.count(word) > 0) {
    Take();
    return ParseRelayTable(options, word);
  }
  if (kFlags.count(word) > 0) {
    Take();
    return ParseRelayFlag(options, word);
  }
  *taken = false;
  return true;
}

bool DirectiveParser::ParseRelayHost(ActionOptions* options) {
  Action& action = options->action;
  TableRef table;
  if (!ParseTableArgument(&table)) return false;
  if (!options->First("host")) {
    return Fail("host mapping already specified for this dispatcher");
  }
  if (action.backup) return Fail("backup and host are mutually exclusive");
  if (!CheckUse(table, kLists, TableService::kRelayhost, "host")) return false;
  action.host = table;
  for (const auto& [url, value] : table->entries()) {
    const absl::string_view scheme = UnsupportedScheme(url);
    if (!scheme.empty()) {
      NotYet(absl::StrCat("\"", scheme, "://\" in the host of a relay"));
    }
  }
  return true;
}

bool DirectiveParser::ParseRelayBackup(ActionOptions* options) {
  Action& action = options->action;
  std::string mx;
  if (TakeKeyword("mx") && !ExpectString(&mx)) return false;
  if (!options->First("backup")) {
    return Fail("backup already specified for this dispatcher");
  }
  for (const char* other : {"host", "domain"}) {
    if (options->seen.count(other) > 0) {
      return Fail(
          absl::StrCat("backup and ", other, " are mutually exclusive"));
    }
  }
  action.backup = true;
  action.backup_mx = mx;
  return true;
}

bool DirectiveParser::ParseRelayString(ActionOptions* options,
                                       const std::string& word) {
  std::string text;
  if (!ExpectString(&text)) return false;
  if (!options->First(word)) {
    return Fail(absl::StrCat(word, " already specified for this dispatcher"));
  }
  if (word == "helo") {
    options->action.helo = text;
    return true;
  }
  if (word == "mail-from") {
    options->action.mail_from = text;
    return true;
  }
  return NotYet(absl::StrCat("\"", word, "\" on a relay"));
}

bool DirectiveParser::ParseRelayTable(ActionOptions* options,
                                      const std::string& word) {
  Action& action = options->action;
  TableRef table;
  if (!ParseTableArgument(&table)) return false;
  const std::string what = word == "helo-src" ? "helo-source"
                           : word == "src"    ? "source"
                                              : word;
  if (!options->First(word)) {
    return Fail(
        absl::StrCat(what, " mapping already specified for this dispatcher"));
  }
  if (word == "src") {
    if (!CheckUse(table, kListsAndMaps, TableService::kSource, what)) {
      return false;
    }
    action.src = table;
    return true;
  }
  if (word == "domain") {
    if (action.backup) return Fail("backup and domain are mutually exclusive");
    if (!CheckUse(table, kMaps, TableService::kRelayhost, what)) return false;
  } else if (word == "auth") {
    if (options->seen.count("host") == 0 &&
        options->seen.count("domain") == 0) {
      return Fail("auth may not be specified without host on a dispatcher");
    }
    if (!CheckUse(table, kMaps, TableService::kCredentials, what)) return false;
  } else if (!CheckUse(table, kMaps, TableService::kAddrname, what)) {
    return false;
  }
  return NotYet(absl::StrCat("\"", word, "\" on a relay"));
}

bool DirectiveParser::ParseRelayFlag(ActionOptions* options,
                                     const std::string& word) {
  if (word == "tls") TakeKeyword("no-verify");
  if (word == "filter" && !ParseFilterReference()) return false;
  if (!options->First(word)) {
    return Fail(absl::StrCat(word, " already specified for this dispatcher"));
  }
  if (word == "srs" && !srs_key_seen_) {
    return Fail("an srs key is required for srs to be specified in an action");
  }
  return NotYet(absl::StrCat("\"", word, "\" on a relay"));
}

}  // namespace holdfast
