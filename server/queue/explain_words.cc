#include "server/queue/explain_words.h"

#include <arpa/inet.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "protocol/smtp_path.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

// As the server takes it behind MAIL and RCPT; nullopt: it would not.
std::optional<MailAddress> AddressOf(absl::string_view text) {
  if (absl::StartsWith(text, "<") && absl::EndsWith(text, ">")) {
    text = text.substr(1, text.size() - 2);
  }
  MailAddress address = SplitAddress(text);
  if (address.IsNull()) return address;
  const std::optional<std::string> user =
      CanonicalLocalPart(address.user, /*utf8=*/true);
  if (!user || (!address.domain.empty() &&
                !IsValidDomain(address.domain, /*utf8=*/true))) {
    return std::nullopt;
  }
  address.user = *user;
  return address;
}

// As rules see it: IPv6 in brackets, `local` for the socket; nullopt: it is no
// address.
std::optional<std::string> SourceOf(std::string text) {
  if (text == "local") return text;
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') {
    text = text.substr(1, text.size() - 2);
  }
  unsigned char address[16];
  if (inet_pton(AF_INET, text.c_str(), address) == 1) return text;
  // The scope of a link-local address is no part of it.
  if (inet_pton(AF_INET6, text.substr(0, text.find('%')).c_str(), address) == 1)
    return absl::StrCat("[", text, "]");
  return std::nullopt;
}

absl::Status Wrong(absl::string_view what, const std::string& word) {
  return absl::InvalidArgumentError(absl::StrCat(
      what, ": ", VisEncode(word),
      "\nusage: explain RCPT [from SENDER] [via LISTENER] [src ADDRESS] "
      "[rdns NAME] [helo NAME] [auth USER] [tls]"));
}

absl::Status SetSource(const std::string& value, ExpandRequest* about) {
  std::optional<std::string> source = SourceOf(value);
  if (!source) return Wrong("not an address of a client", value);
  about->sockaddr = *std::move(source);
  return absl::OkStatus();
}

absl::Status SetAddress(const std::string& value, MailAddress* address) {
  std::optional<MailAddress> parsed = AddressOf(value);
  if (!parsed) return Wrong("not an address", value);
  *address = *std::move(parsed);
  return absl::OkStatus();
}

absl::Status Set(const std::string& word, const std::string& value,
                 ExplainRequest* request) {
  ExpandRequest& about = request->about;
  if (word == "from") return SetAddress(value, &about.sender);
  if (word == "src") return SetSource(value, &about);
  if (word == "via") {
    request->listener = value;
  } else if (word == "rdns") {
    about.rdns = value;
  } else if (word == "helo") {
    about.helo = value;
  } else {
    about.authenticated = true;
    about.username = value;
  }
  return absl::OkStatus();
}

bool IsOption(absl::string_view word) {
  constexpr absl::string_view kOptions[] = {"from", "via",  "src",
                                            "rdns", "helo", "auth"};
  return std::find(std::begin(kOptions), std::end(kOptions), word) !=
         std::end(kOptions);
}

}  // namespace

absl::StatusOr<ExplainRequest> ParseExplainWords(
    const std::vector<std::string>& words) {
  if (words.empty()) return Wrong("missing", "RCPT");
  ExplainRequest request;
  absl::Status status = SetAddress(words[0], &request.about.rcpt);
  if (!status.ok()) return status;
  std::set<std::string> seen;
  for (size_t at = 1; at < words.size(); ++at) {
    const std::string& word = words[at];
    if (!seen.insert(word).second) return Wrong("given twice", word);
    if (word == "tls") {
      request.about.tls = true;
      continue;
    }
    if (!IsOption(word)) return Wrong("unknown word", word);
    if (++at == words.size() || words[at].empty()) {
      return Wrong("missing value", word);
    }
    status = Set(word, words[at], &request);
    if (!status.ok()) return status;
  }
  return request;
}

}  // namespace holdfast
