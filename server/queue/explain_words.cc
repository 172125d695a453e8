#include "server/queue/explain_words.h"

#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

MailAddress AddressOf(absl::string_view text) {
  if (absl::StartsWith(text, "<") && absl::EndsWith(text, ">")) {
    text = text.substr(1, text.size() - 2);
  }
  return SplitAddress(text);
}

// As rules see it: IPv6 in brackets.
std::string SourceOf(const std::string& text) {
  const bool bare = absl::StrContains(text, ':') && text[0] != '[';
  return bare ? absl::StrCat("[", text, "]") : text;
}

// False: there is no such option.
bool Set(const std::string& word, const std::string& value,
         ExplainRequest* request) {
  ExpandRequest& about = request->about;
  if (word == "from") {
    about.sender = AddressOf(value);
  } else if (word == "via") {
    request->listener = value;
  } else if (word == "src") {
    about.sockaddr = SourceOf(value);
  } else if (word == "rdns") {
    about.rdns = value;
  } else if (word == "helo") {
    about.helo = value;
  } else if (word == "auth") {
    about.authenticated = true;
    about.username = value;
  } else {
    return false;
  }
  return true;
}

absl::Status Wrong(absl::string_view what, const std::string& word) {
  return absl::InvalidArgumentError(absl::StrCat(
      what, ": ", VisEncode(word),
      "\nusage: explain RCPT [from SENDER] [via LISTENER] [src ADDRESS] "
      "[rdns NAME] [helo NAME] [auth USER] [tls]"));
}

}  // namespace

absl::StatusOr<ExplainRequest> ParseExplainWords(
    const std::vector<std::string>& words) {
  if (words.empty()) return Wrong("missing", "RCPT");
  ExplainRequest request;
  request.about.rcpt = AddressOf(words[0]);
  std::set<std::string> seen;
  for (size_t at = 1; at < words.size(); ++at) {
    const std::string& word = words[at];
    if (!seen.insert(word).second) return Wrong("given twice", word);
    if (word == "tls") {
      request.about.tls = true;
      continue;
    }
    ExplainRequest unused;
    if (!Set(word, "x", &unused)) return Wrong("unknown word", word);
    if (++at == words.size() || words[at].empty()) {
      return Wrong("missing value", word);
    }
    Set(word, words[at], &request);
  }
  return request;
}

}  // namespace holdfast
