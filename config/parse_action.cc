// `action` (reference part 1, section 1.8).
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "config/directives.h"
#include "config/hints.h"
#include "protocol/report_text.h"

namespace holdfast {

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
  taken = true;
  while (taken) {
    if (!ParseCommonOption(&options, &taken)) return false;
  }
  if (action.IsLocal() && action.userbase == nullptr) {
    action.userbase = config_->tables["<getpwnam>"];
  }
  const std::string name = action.name;
  config_->actions.emplace(name, std::move(action));
  return true;
}

// What stands last, whatever the method.
bool DirectiveParser::ParseCommonOption(ActionOptions* options, bool* taken) {
  Action& action = options->action;
  *taken = true;
  if (TakeKeyword("ttl")) {
    absl::Duration ttl;
    std::string text;
    if (action.ttl) {
      return ExpectString(&text) &&
             Fail("ttl already specified for this dispatcher");
    }
    if (!ExpectDelay("invalid ttl delay", &ttl)) return false;
    action.ttl = ttl;
    return true;
  }
  if (TakeWord("bounce-text")) return ParseBounceText(options);
  if (TakeWord("verp")) return ParseVerp(options);
  *taken = false;
  return true;
}

bool DirectiveParser::ParseBounceText(ActionOptions* options) {
  if (!options->First("bounce-text")) {
    return Fail("bounce-text already specified for this dispatcher");
  }
  std::string path;
  if (!ExpectString(&path)) return false;
  const absl::StatusOr<std::string> text = read_(path);
  if (!text.ok()) {
    return Fail(absl::StrCat("cannot read bounce-text ", path, ": ",
                             text.status().message()));
  }
  auto parsed = ReportText::Parse(*text);
  if (const auto* const error = std::get_if<ReportTextError>(&parsed)) {
    ++errors_;
    messages_.push_back(
        absl::StrCat(path, ":", error->line, ": ", Printable(error->what)));
    HintPosition();
    return false;
  }
  options->action.bounce_text = path;
  options->action.report_text =
      std::make_shared<const ReportText>(std::get<ReportText>(parsed));
  return true;
}

bool DirectiveParser::ParseVerp(ActionOptions* options) {
  if (!options->First("verp")) {
    return Fail("verp already specified for this dispatcher");
  }
  // Who is delivered to here is told from the mail itself.
  if (options->action.IsLocal()) return Fail("verp is for relay actions only");
  options->action.verp = true;
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
    if (PeekString()) action.maildir_path = Take().text;
    action.maildir_junk = TakeKeyword("junk");
    return true;
  }
  if (TakeKeyword("lmtp")) {
    action.method = ActionMethod::kLmtp;
    if (!ExpectString(&action.lmtp)) return false;
    action.lmtp_rcpt_to = TakeKeyword("rcpt-to");
    return true;
  }
  if (TakeKeyword("mda")) {
    action.method = ActionMethod::kMda;
    return ExpectString(&action.mda_command);
  }
  if (TakeKeyword("expand-only")) {
    action.method = ActionMethod::kExpandOnly;
    return true;
  }
  if (TakeKeyword("forward-only")) {
    action.method = ActionMethod::kForwardOnly;
    return true;
  }
  return SyntaxError();
}

bool DirectiveParser::ParseLocalOption(ActionOptions* options, bool* taken) {
  *taken = true;
  if (PeekAnyKeyword({"alias", "virtual", "userbase"})) {
    return ParseMapping(options, Take().text);
  }
  if (TakeKeyword("user")) return ParseActionUser(options);
  if (TakeKeyword("wrapper")) return ParseWrapper(options);
  *taken = false;
  return true;
}

bool DirectiveParser::ParseWrapper(ActionOptions* options) {
  Action& action = options->action;
  std::string name;
  if (!ExpectString(&name)) return false;
  if (config_->wrappers.count(name) == 0) {
    return FailWithHint(absl::StrCat("no mda wrapper with that name: ", name),
                        name, KeysOf(config_->wrappers));
  }
  // There is no command to wrap: with the reference each delivery fails.
  if (action.method == ActionMethod::kMbox) {
    return Fail("wrapper may not be specified for mbox");
  }
  action.wrapper = name;
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
  if (word != "userbase") CheckAliases(*table);
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
  *taken = true;
  if (TakeKeyword("host")) return ParseRelayHost(options);
  if (TakeKeyword("backup")) return ParseRelayBackup(options);
  if (PeekAnyKeyword(
          {"helo", "mail-from", "pki", "ca", "ciphers", "protocols"})) {
    return ParseRelayString(options, Take().text);
  }
  if (PeekAnyKeyword({"helo-src", "src", "domain", "auth"})) {
    return ParseRelayTable(options, Take().text);
  }
  if (PeekAnyKeyword({"tls", "srs", "filter"})) {
    return ParseRelayFlag(options, Take().text);
  }
  *taken = false;
  return true;
}

bool DirectiveParser::ParseRelayHost(ActionOptions* options) {
  Action& action = options->action;
  TableRef table;
  if (!ParseTableArgument(&table)) return false;
  if (!options->First("host") || options->seen.count("domain") > 0) {
    return Fail("host mapping already specified for this dispatcher");
  }
  if (action.backup) return Fail("backup and host are mutually exclusive");
  if (!CheckUse(table, kLists, TableService::kRelayhost, "host")) return false;
  action.host = table;
  const std::string bad =
      table->is_static() ? BadSmarthostText(*table->contents()) : "";
  return bad.empty() || Fail(bad);
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
  Action& action = options->action;
  if (word == "protocols" && !CheckProtocols(text)) return false;
  (word == "pki"       ? action.pki
   : word == "ca"      ? action.ca
   : word == "ciphers" ? action.ciphers
                       : action.protocols) =
      word == "pki" || word == "ca" ? absl::AsciiStrToLower(text) : text;
  return true;
}

bool DirectiveParser::ParseRelayTable(ActionOptions* options,
                                      const std::string& word) {
  Action& action = options->action;
  TableRef table;
  if (!ParseTableArgument(&table)) return false;
  // `domain` is another way to say where `host` is.
  const std::string what = word == "helo-src" ? "helo-source"
                           : word == "src"    ? "source"
                           : word == "domain" ? "host"
                                              : word;
  if (!options->First(word) ||
      (word == "domain" && options->seen.count("host") > 0)) {
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
  (word == "domain" ? action.domain
   : word == "auth" ? action.auth
                    : action.helo_src) = table;
  return true;
}

bool DirectiveParser::ParseRelayFlag(ActionOptions* options,
                                     const std::string& word) {
  Action& action = options->action;
  const bool verify = word == "tls" && !TakeKeyword("no-verify");
  if (word == "filter" && !ParseFilterReference(&action.filter)) return false;
  if (!options->First(word)) {
    return Fail(absl::StrCat(word, " already specified for this dispatcher"));
  }
  if (word == "srs") {
    if (config_->srs.key.empty()) {
      return Fail(
          "an srs key is required for srs to be specified in an action");
    }
    action.srs = true;
    return true;
  }
  if (word == "tls") {
    action.tls = verify ? Action::Tls::kRequired : Action::Tls::kNoVerify;
    return true;
  }
  return true;
}

}  // namespace holdfast
