// `pki`, `ca` and `srs`: keys and certificates (reference part 1, section
// 1.5).  Nothing is opened here.
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config/directives.h"
#include "config/tls_options.h"
#include "config/values.h"

namespace holdfast {

bool DirectiveParser::ParseCa() {
  std::string name;
  std::string file;
  if (!ExpectString(&name)) return false;
  if (name != "*" && !IsHostname(name)) {
    return Fail(absl::StrCat("not a valid domain name: ", name));
  }
  Ca ca;
  ca.position = lexer_.position();
  ca.name = absl::AsciiStrToLower(name);
  if (!ExpectKeyword("cert") || !ExpectString(&ca.cert)) return false;
  config_->cas[ca.name] = ca;
  return true;
}

// Clauses of one name may stand on several lines.
bool DirectiveParser::ParsePki() {
  std::string name;
  if (!ExpectString(&name)) return false;
  absl::AsciiStrToLower(&name);
  Pki& pki = config_->pkis[name];
  if (pki.name.empty()) {
    pki.name = name;
    pki.position = lexer_.position();
  }
  while (PeekAnyKeyword({"cert", "key", "dhe"})) {
    const std::string clause = Take().text;
    std::string value;
    if (!ExpectString(&value)) return false;
    if (clause == "dhe") {
      if (!SetDhe(value, &pki)) return false;
    } else {
      (clause == "cert" ? pki.cert : pki.key) = value;
    }
  }
  return true;
}

bool DirectiveParser::SetDhe(const std::string& word, Pki* pki) {
  static const std::map<std::string, Pki::Dhe> kWords = {
      {"none", Pki::Dhe::kNone},
      {"auto", Pki::Dhe::kAuto},
      {"legacy", Pki::Dhe::kLegacy}};
  const auto found = kWords.find(absl::AsciiStrToLower(word));
  if (found == kWords.end()) {
    return FailWithHint(absl::StrCat("invalid DHE keyword: ", word), word,
                        KeysOf(kWords));
  }
  pki->dhe = found->second;
  return true;
}

bool DirectiveParser::CheckProtocols(const std::string& text) {
  const absl::StatusOr<TlsProtocols> protocols = ParseTlsProtocols(text);
  if (protocols.ok()) return true;
  FailPlain(protocols.status().message());
  HintPosition();
  return false;
}

bool DirectiveParser::ParseSrs() {
  Srs& srs = config_->srs;
  if (TakeKeyword("ttl")) {
    std::string text;
    if (!ExpectString(&text)) return false;
    const std::optional<absl::Duration> delay = ParseDelay(text);
    if (!delay) {
      return Fail(absl::StrFormat("ttl delay \"%s\" is invalid", text));
    }
    // The message lacks the unit there, too.
    text.pop_back();
    const int64_t days = *delay / absl::Hours(24);
    if (days == 0) {
      return Fail(absl::StrFormat("ttl delay \"%s\" is too short", text));
    }
    srs.ttl_days = static_cast<int>(days);
    return true;
  }
  if (!ExpectKeyword("key")) return false;
  return ExpectString(TakeKeyword("backup") ? &srs.backup_key : &srs.key);
}

// What only the whole file shows.  In the order of names, as the reference's
// loader of keys goes.
void DirectiveParser::CheckPkis() {
  for (const auto& [name, pki] : config_->pkis) {
    if (!pki.cert.empty() && !pki.key.empty()) continue;
    FailPlain(absl::StrCat("load_pki_tree: missing ",
                           pki.cert.empty() ? "certificate" : "key", " file"));
    Hint(absl::StrFormat("pki \"%s\" is declared at %s:%d", name,
                         pki.position.file, pki.position.line));
  }
  auto check = [this](absl::string_view what, const std::string& name,
                      const auto& known, const Action& action) {
    if (name.empty() || known.count(name) > 0) return;
    FailPlain(absl::StrFormat("client %s \"%s\" not found", what, name));
    HintNear(name, KeysOf(known));
    Hint(absl::StrFormat("action \"%s\" at %s:%d wants it", action.name,
                         action.position.file, action.position.line));
  };
  for (const auto& [name, action] : config_->actions) {
    check("pki", action.pki, config_->pkis, action);
    check("ca", action.ca, config_->cas, action);
  }
}

}  // namespace holdfast
