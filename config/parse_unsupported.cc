// What the reference's grammar knows and this version does not do yet: read
// to the end of the line, checked as the reference checks it, and refused by
// name.
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "config/directives.h"

namespace holdfast {

bool DirectiveParser::ParseCa() {
  std::string name;
  std::string file;
  if (!ExpectString(&name) || !ExpectKeyword("cert") || !ExpectString(&file)) {
    return false;
  }
  return NotYet("\"ca\"");
}

bool DirectiveParser::ParsePki() {
  std::string name;
  std::string value;
  if (!ExpectString(&name)) return false;
  while (true) {
    if (TakeKeyword("cert") || TakeKeyword("key")) {
      if (!ExpectString(&value)) return false;
    } else if (TakeKeyword("dhe")) {
      if (!ExpectString(&value)) return false;
      const std::string lower = absl::AsciiStrToLower(value);
      if (lower != "none" && lower != "auto" && lower != "legacy") {
        return Fail(absl::StrCat("invalid DHE keyword: ", value));
      }
    } else {
      return NotYet("\"pki\"");
    }
  }
}

bool DirectiveParser::ParseSrs() {
  if (TakeKeyword("ttl")) {
    std::string text;
    if (!ExpectString(&text)) return false;
    return NotYet("\"srs\"");
  }
  if (!ExpectKeyword("key")) return false;
  TakeKeyword("backup");
  std::string secret;
  if (!ExpectString(&secret)) return false;
  srs_key_seen_ = true;
  return NotYet("\"srs\"");
}

bool DirectiveParser::ParseProc() {
  std::string name;
  std::string command;
  if (!ExpectString(&name)) return false;
  if (!ExpectString(&command)) return false;
  if (!procs_.insert(name).second) {
    return Fail(
        absl::StrCat("processor already exists with that name: ", name));
  }
  return ParseProcOptions() && NotYet("\"proc\"");
}

// [user U] [group G] [chroot DIR]
bool DirectiveParser::ParseProcOptions() {
  std::set<std::string> seen;
  while (PeekKeyword("user") || PeekKeyword("group") || PeekKeyword("chroot")) {
    const std::string option = Take().text;
    std::string value;
    if (!ExpectString(&value)) return false;
    if (!seen.insert(option).second) {
      return Fail(
          absl::StrCat(option, " already specified for this processor"));
    }
  }
  return true;
}

bool DirectiveParser::ParseFilter() {
  std::string name;
  std::string text;
  if (!ExpectString(&name)) return false;
  if (filters_.count(name) > 0) {
    return Fail(absl::StrCat("filter already exists with that name: ", name));
  }
  bool chain = false;
  if (TakeKeyword("proc")) {
    if (!ExpectString(&text)) return false;
    if (procs_.count(text) == 0) {
      return Fail(absl::StrCat("no processor exist with that name: ", text));
    }
  } else if (TakeKeyword("proc-exec")) {
    if (!ExpectString(&text) || !ParseProcOptions()) return false;
  } else if (TakeKeyword("phase")) {
    if (!ParsePhaseFilter()) return false;
  } else if (TakeKeyword("chain")) {
    if (!ParseFilterChain()) return false;
    chain = true;
  } else {
    return SyntaxError();
  }
  filters_.insert(name);
  if (chain) filter_chains_.insert(name);
  return NotYet("\"filter\"");
}

bool DirectiveParser::ParseFilterChain() {
  std::vector<std::string> names;
  if (!ParseStringList(&names)) return false;
  std::set<std::string> seen;
  for (const std::string& name : names) {
    if (filters_.count(name) == 0) {
      return Fail(absl::StrCat("no filter exist with that name: ", name));
    }
    if (filter_chains_.count(name) > 0) {
      return Fail(absl::StrCat(
          "no filter chain allowed within a filter chain: ", name));
    }
    if (!seen.insert(name).second) {
      return Fail(absl::StrCat(
          "no filter allowed twice within a filter chain: ", name));
    }
  }
  return true;
}

bool DirectiveParser::ParseFilterReference() {
  if (Peek().Is('{')) return ParseFilterChain();
  std::string name;
  if (!ExpectString(&name)) return false;
  if (filters_.count(name) == 0) {
    return Fail(absl::StrCat("no filter exist with that name: ", name));
  }
  return true;
}

// PHASE match [!]CONDITION DECISION
bool DirectiveParser::ParsePhaseFilter() {
  static const std::set<std::string> kPhases = {
      "connect",   "helo",    "ehlo", "auth",
      "mail-from", "rcpt-to", "data", "commit"};
  if (Peek().kind != Token::Kind::kKeyword || kPhases.count(Peek().text) == 0) {
    return SyntaxError();
  }
  const std::string phase = Take().text;
  if (!ExpectKeyword("match")) return false;
  TakeChar('!');
  return ParsePhaseCondition(phase) && ParsePhaseDecision(phase);
}

bool DirectiveParser::ParsePhaseCondition(const std::string& phase) {
  // How far the dialogue has come: what a phase may look at.
  const int reached = phase == "connect"                   ? 0
                      : phase == "helo" || phase == "ehlo" ? 1
                      : phase == "auth"                    ? 2
                      : phase == "rcpt-to"                 ? 4
                                                           : 3;
  if (Peek().kind != Token::Kind::kKeyword) return SyntaxError();
  if (TakeKeyword("fcrdns")) return true;
  if (TakeKeyword("rdns") || (reached >= 2 && TakeKeyword("auth"))) {
    if (!PeekTableArgument() && !PeekKeyword("regex")) return true;
    return ParseOptionalRegexTable();
  }
  if (TakeKeyword("src") || (reached >= 1 && TakeKeyword("helo")) ||
      (reached >= 3 && TakeKeyword("mail-from")) ||
      (reached >= 4 && TakeKeyword("rcpt-to"))) {
    return ParseOptionalRegexTable();
  }
  return SyntaxError();
}

bool DirectiveParser::ParseOptionalRegexTable() {
  TakeKeyword("regex");
  TableRef table;
  return ParseTableArgument(&table);
}

bool DirectiveParser::ParsePhaseDecision(const std::string& phase) {
  if (phase != "commit" && (TakeKeyword("junk") || TakeKeyword("bypass"))) {
    return true;
  }
  if (!TakeKeyword("reject") && !TakeKeyword("disconnect") &&
      !TakeKeyword("rewrite") && !TakeKeyword("report")) {
    return SyntaxError();
  }
  std::string text;
  return ExpectString(&text);
}

}  // namespace holdfast
