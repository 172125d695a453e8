// `listen on` (reference part 1, section 1.9).
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config/directives.h"
#include "config/values.h"

namespace holdfast {
namespace {

constexpr size_t kMaxTagBytes = 32;
constexpr int kMaxPkiPerListener = 32;
constexpr uint16_t kSmtpPort = 25;
constexpr uint16_t kSmtpsPort = 465;

// The names that need no services(5).
std::optional<uint16_t> WellKnownPort(absl::string_view name) {
  if (name == "smtp") return kSmtpPort;
  if (name == "smtps" || name == "submissions") return kSmtpsPort;
  if (name == "submission") return uint16_t{587};
  return std::nullopt;
}

}  // namespace

// A listener with what has been said about it.
struct DirectiveParser::ListenOptions {
  Listener listener;
  std::set<std::string> seen;      // options given, by the group they exclude
  std::vector<std::string> later;  // options of later versions
  bool tls = false;
  bool auth = false;
  int pki = 0;

  bool First(const std::string& option) { return seen.insert(option).second; }
};

bool DirectiveParser::ParseListen() {
  if (!ExpectKeyword("on")) return false;
  if (TakeKeyword("socket")) return ParseSocketListener();
  return ParseInterfaceListener();
}

bool DirectiveParser::ParseListenTag(bool* seen, std::string* tag) {
  std::string text;
  if (!ExpectString(&text)) return false;
  if (*seen) return Fail("tag already specified");
  if (text.size() > kMaxTagBytes) return Fail("tag name too long");
  *seen = true;
  *tag = text;
  return true;
}

bool DirectiveParser::ParseSocketListener() {
  if (socket_listener_seen_) return Fail("socket listener already configured");
  socket_listener_seen_ = true;
  Listener& listener = config_->socket_listener;
  listener.position = lexer_.position();
  bool tagged = false;
  bool filtered = false;
  while (true) {
    if (TakeKeyword("filter")) {
      if (filtered) return Fail("filter already specified");
      filtered = true;
      if (!ParseFilterReference()) return false;
      NotYet("\"filter\" on a listener");
    } else if (TakeKeyword("mask-src")) {
      if (listener.mask_src) return Fail("mask-source already specified");
      listener.mask_src = true;
    } else if (TakeKeyword("no-dsn")) {
      if (listener.no_dsn) return Fail("no-dsn already specified");
      listener.no_dsn = true;
    } else if (TakeKeyword("tag")) {
      if (!ParseListenTag(&tagged, &listener.tag)) return false;
    } else {
      return true;
    }
  }
}

bool DirectiveParser::ParseInterfaceListener() {
  ListenOptions options;
  if (!ExpectString(&options.listener.where)) return false;
  options.listener.position = lexer_.position();
  while (true) {
    bool taken = false;
    if (!ParseListenOption(&options, &taken)) return false;
    if (!taken) return FinishListener(&options);
  }
}

// The reference's checks of the whole line first; only what would work there
// is then refused for its options of later versions.
bool DirectiveParser::FinishListener(ListenOptions* options) {
  if (options->auth && !options->tls) {
    return Abort("invalid listen option: auth requires tls/smtps");
  }
  if (options->pki > 0 && !options->tls) {
    return Abort("invalid listen option: pki requires tls/smtps");
  }
  if (options->pki == 0 && options->tls) {
    return Abort("invalid listen option: pki required for tls/smtps");
  }
  for (const std::string& option : options->later) {
    NotYet(absl::StrCat("\"", option, "\" on a listener"));
  }
  config_->listeners.push_back(std::move(options->listener));
  return true;
}

bool DirectiveParser::ParseListenOption(ListenOptions* options, bool* taken) {
  Listener& listener = options->listener;
  if (Peek().kind != Token::Kind::kKeyword) return true;
  const std::string word = Peek().text;
  if (!ParseListenTls(options, taken)) return false;
  if (*taken) return true;
  static const std::set<std::string> kOthers = {
      "auth",          "auth-optional", "ca",    "ciphers",   "filter",
      "hostname",      "hostnames",     "inet4", "inet6",     "mask-src",
      "no-dsn",        "pki",           "port",  "protocols", "proxy-v2",
      "received-auth", "senders",       "tag"};
  if (kOthers.count(word) == 0) return true;
  *taken = true;
  Take();
  if (word == "inet4" || word == "inet6") {
    if (!options->First("family")) {
      return Fail("address family already specified");
    }
    listener.family =
        word == "inet4" ? Listener::Family::kInet4 : Listener::Family::kInet6;
    return true;
  }
  if (word == "port") return ParseListenPort(options);
  if (word == "auth" || word == "auth-optional") {
    options->later.push_back(word);
    return ParseListenAuth(options);
  }
  if (word == "hostname") return ExpectString(&listener.hostname);
  if (word == "hostnames" || word == "senders") {
    options->later.push_back(word);
    return ParseListenTables(options, word);
  }
  if (word == "tag") {
    bool seen = !options->First("tag");
    return ParseListenTag(&seen, &listener.tag);
  }
  if (word == "mask-src") {
    if (!options->First(word)) return Fail("mask-source already specified");
    listener.mask_src = true;
    return true;
  }
  if (word == "no-dsn") {
    if (!options->First(word)) return Fail("no-dsn already specified");
    listener.no_dsn = true;
    return true;
  }
  // The rest has no effect yet.
  options->later.push_back(word);
  if (word == "filter") {
    if (!options->First(word)) return Fail("filter already specified");
    return ParseFilterReference();
  }
  std::string text;
  const bool flag = word == "proxy-v2" || word == "received-auth";
  if (!flag && !ExpectString(&text)) return false;
  if (word == "pki") {
    return ++options->pki <= kMaxPkiPerListener ||
           Fail("too many pki specified");
  }
  return options->First(word) || Fail(absl::StrCat(word, " already specified"));
}

bool DirectiveParser::ParseListenTls(ListenOptions* options, bool* taken) {
  const std::string word = Peek().text;
  if (word != "tls" && word != "tls-require" && word != "smtps") return true;
  *taken = true;
  Take();
  const bool verify = word != "tls" && TakeKeyword("verify");
  if (options->tls) return Fail("TLS mode already specified");
  options->tls = true;
  options->later.push_back(verify ? absl::StrCat(word, " verify") : word);
  if (word == "smtps" && options->seen.count("port") == 0) {
    options->listener.port = kSmtpsPort;
  }
  return true;
}

bool DirectiveParser::ParseListenAuth(ListenOptions* options) {
  TableRef table;
  if (PeekTableArgument() && !ParseTableArgument(&table)) return false;
  if (options->auth) return Fail("auth already specified");
  options->auth = true;
  return true;
}

bool DirectiveParser::ParseListenPort(ListenOptions* options) {
  const Token token = Take();
  std::optional<uint16_t> port;
  if (token.kind == Token::Kind::kNumber) {
    if (!options->First("port")) return Fail("port already specified");
    if (token.number > 0 &&
        token.number <= std::numeric_limits<uint16_t>::max()) {
      port = static_cast<uint16_t>(token.number);
    }
  } else if (token.kind == Token::Kind::kString || token.IsKeyword("smtp") ||
             token.IsKeyword("smtps")) {
    if (!options->First("port")) return Fail("port already specified");
    port = WellKnownPort(token.text);
    if (!port) {
      if (!services_) services_ = read_("/etc/services").value_or("");
      port = FindTcpService(*services_, token.text);
    }
  } else {
    next_ = token;
    return SyntaxError();
  }
  if (!port) return Fail(absl::StrCat("invalid port: ", token.text));
  options->listener.port = *port;
  return true;
}

bool DirectiveParser::ParseListenTables(ListenOptions* options,
                                        const std::string& word) {
  TableRef table;
  if (!ParseTableArgument(&table)) return false;
  if (!options->First(word)) {
    return Fail(absl::StrCat(word, " already specified"));
  }
  const bool senders = word == "senders";
  if (table->kind() == Table::Kind::kList) {
    return Fail(absl::StrFormat("invalid use of table \"%s\" as %s parameter",
                                table->name(),
                                senders ? "SENDERS" : "HOSTNAMES"));
  }
  if (senders) TakeKeyword("masquerade");
  return true;
}

}  // namespace holdfast
