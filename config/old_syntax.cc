#include "config/old_syntax.h"

#include <algorithm>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace holdfast {
namespace {

using Words = std::vector<std::string>;
using Replacements = std::map<absl::string_view, absl::string_view>;

std::string Line(const Words& words) {
  std::string line;
  for (const std::string& word : words) {
    if (!line.empty() && word != ",") line += ' ';
    line += word;
  }
  return line;
}

Words From(const Words& words, size_t first) {
  return Words(words.begin() + std::min(first, words.size()), words.end());
}

// Reads `accept ...` and `reject ...` piece by piece.
class OldRule {
 public:
  explicit OldRule(const Words& words) : words_(words) {}

  Words Translate() {
    reject_ = Take() == "reject";
    while (at_ < words_.size()) {
      const std::string word = Take();
      if (word == "for" || word == "from") {
        Place(word);
      } else if (word == "deliver") {
        if (Next() == "to") Take();
        Method();
      } else if (word == "relay") {
        method_ = "relay";
      } else if (word == "expire") {
        ttl_ = Take();
      } else if (!Criterion(word) && !RelayOption(word) && !LocalOption(word)) {
        Unknown(word);
      }
    }
    return Result();
  }

 private:
  std::string Next() { return at_ < words_.size() ? words_[at_] : ""; }
  std::string Take() { return at_ < words_.size() ? words_[at_++] : ""; }

  // A name, <table> or { list }, with its negation in front.
  std::string Argument(bool* negated) {
    *negated = Next() == "!";
    if (*negated) Take();
    if (Next() != "{") return Take();
    Words list;
    do {
      list.push_back(Take());
    } while (list.back() != "}" && at_ < words_.size());
    return Line(list);
  }

  void Add(absl::string_view criterion, bool negated,
           absl::string_view argument) {
    absl::StrAppend(&criteria_, negated ? " !" : " ", criterion,
                    argument.empty() ? "" : " ", argument);
  }

  // What follows `for` or `from`.
  void Place(const std::string& word) {
    bool negated = false;
    const std::string what = Argument(&negated);
    if (what == "any" || what == "local") {
      return Add(absl::StrCat(word, " ", what), negated, "");
    }
    bool ignored = false;
    const bool named = what == "source" || what == "domain";
    const std::string argument = named ? Argument(&ignored) : what;
    Add(word == "for" ? "for domain" : "from src", negated || ignored,
        argument);
  }

  bool Criterion(const std::string& word) {
    static const Replacements kCriteria = {{"tagged", "tag"},
                                           {"sender", "mail-from"},
                                           {"recipient", "rcpt-to"},
                                           {"auth", "auth"}};
    const auto found = kCriteria.find(word);
    if (found == kCriteria.end() || !method_.empty()) return false;
    bool negated = false;
    const std::string argument = word == "auth" ? "" : Argument(&negated);
    Add(found->second, negated, argument);
    return true;
  }

  void Method() {
    method_ = Take();
    if (method_ == "lmtp" || method_ == "mda" || method_ == "maildir") {
      if (method_ != "maildir" || absl::StartsWith(Next(), "\"")) {
        absl::StrAppend(&method_, " ", Take());
      }
      if (Next() == "rcpt-to") absl::StrAppend(&method_, " ", Take());
    }
  }

  bool LocalOption(const std::string& word) {
    if (word != "alias" && word != "virtual" && word != "userbase") {
      return false;
    }
    absl::StrAppend(&options_, " ", word, " ", Take());
    return true;
  }

  bool RelayOption(const std::string& word) {
    static const Replacements kOptions = {
        {"via", "host"},           {"as", "mail-from"},
        {"source", "src"},         {"hostname", "helo"},
        {"hostnames", "helo-src"}, {"pki", "pki"},
        {"certificate", "pki"},    {"ca", "ca"},
        {"auth", "auth"}};
    if (method_ != "relay") return false;
    if (word == "verify" || word == "tls" || word == "backup") {
      absl::StrAppend(&options_, word == "backup" ? " backup" : " tls");
      if (word == "backup" && at_ < words_.size()) {
        absl::StrAppend(&options_, " mx ", Take());
      }
      if (word == "tls" && Next() == "verify") Take();
      return true;
    }
    const auto found = kOptions.find(word);
    if (found == kOptions.end()) return false;
    absl::StrAppend(&options_, " ", found->second, " ", Take());
    return true;
  }

  void Unknown(const std::string& word) {
    absl::StrAppend(method_.empty() ? &criteria_ : &options_, " ", word);
  }

  Words Result() const {
    const std::string match = absl::StrCat("match", criteria_);
    if (reject_) return {absl::StrCat(match, " reject")};
    const std::string method = method_.empty() ? "mbox" : method_;
    const std::string name = method == "relay" ? "outbound" : "local_mail";
    return {absl::StrCat("action \"", name, "\" ", method, options_,
                         ttl_.empty() ? "" : " ttl ", ttl_),
            absl::StrCat(match, " action \"", name, "\"")};
  }

  const Words& words_;
  size_t at_ = 0;
  bool reject_ = false;
  std::string criteria_;
  std::string method_;
  std::string options_;
  std::string ttl_;
};

// Directives whose first words were others.
Words Renamed(const Words& words) {
  static const std::map<std::string, std::string> kDirectives = {
      {"bounce-warn", "bounce warn-interval"},
      {"ciphers", "smtp ciphers"},
      {"compression", "queue compression"},
      {"encryption", "queue encryption"},
      {"expire", "queue ttl"},
      {"max-deferred", "mta max-deferred"},
      {"max-message-size", "smtp max-message-size"},
      {"sub-addr-delim", "smtp sub-addr-delim"},
      {"subaddressing-delimiter", "smtp sub-addr-delim"},
  };
  const auto found = kDirectives.find(words[0]);
  if (found == kDirectives.end()) return {};
  Words line = {found->second};
  for (const std::string& word : From(words, 1)) {
    if (word != "{" && word != "}") line.push_back(word);
  }
  return {Line(line)};
}

Words Limit(const Words& words) {
  if (words.size() < 2) return {"mta limit KEY N"};
  const std::string subsystem = words[1] == "session" ? "smtp" : words[1];
  Words line = {subsystem, "limit"};
  for (const std::string& word : From(words, 2)) line.push_back(word);
  return {Line(line)};
}

// `map NAME source TYPE PATH`, `table NAME TYPE PATH`.
Words OldTable(const Words& words) {
  Words rest = From(words, 2);
  if (!rest.empty() && rest[0] == "source") rest.erase(rest.begin());
  if (rest.size() != 2 || !absl::StartsWith(rest[1], "\"/")) return {};
  const std::string path = rest[1].substr(1, rest[1].size() - 2);
  const std::string type =
      rest[0] == "plain" || rest[0] == "static" ? "file" : rest[0];
  return {absl::StrCat("table ", words[1], " ", type, ":", path)};
}

// Words that were replaced, behind the name.
Words Replaced(const Words& words, const Replacements& replacements) {
  Words line = {words[0]};
  bool changed = false;
  for (size_t i = 1; i < words.size(); ++i) {
    const auto found = i < 2 ? replacements.end() : replacements.find(words[i]);
    if (found == replacements.end()) {
      line.push_back(words[i]);
      continue;
    }
    changed = true;
    if (!found->second.empty()) line.push_back(std::string(found->second));
  }
  return changed ? Words{Line(line)} : Words();
}

}  // namespace

std::vector<std::string> NewForm(const std::vector<std::string>& words) {
  static const Replacements kListen = {{"certificate", "pki"},
                                       {"mask-source", "mask-src"},
                                       {"secure", "tls"},
                                       {"enable", ""}};
  static const Replacements kAction = {
      {"deliver", ""},   {"to", ""},
      {"via", "host"},   {"as", "mail-from"},
      {"source", "src"}, {"hostname", "helo"},
      {"expire", "ttl"}, {"certificate", "pki"},
      {"verify", "tls"}};
  static const Replacements kMatch = {{"tagged", "tag"},
                                      {"sender", "mail-from"},
                                      {"recipient", "rcpt-to"},
                                      {"source", "src"},
                                      {"authenticated", "auth"}};
  static const Replacements kCertificate = {{"certificate", "cert"}};
  if (words.empty()) return {};
  const std::string& first = words[0];
  if (first == "accept" || first == "reject") {
    return OldRule(words).Translate();
  }
  if (first == "limit") return Limit(words);
  if (first == "map" || first == "table") return OldTable(words);
  if (first == "pki" && words.size() == 4 && words[2] == "ca") {
    return {absl::StrCat("ca ", words[1], " cert ", words[3])};
  }
  if (first == "pki" || first == "ca") return Replaced(words, kCertificate);
  if (first == "listen") return Replaced(words, kListen);
  if (first == "action") return Replaced(words, kAction);
  // Behind `match` criteria begin at once.
  if (first == "match") {
    Words shifted = words;
    shifted.insert(shifted.begin(), "");
    Words lines = Replaced(shifted, kMatch);
    for (std::string& line : lines) line.erase(0, line.find("match"));
    return lines;
  }
  return Renamed(words);
}

}  // namespace holdfast
