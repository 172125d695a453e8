// `listen on` (reference part 1, section 1.9).
#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config/directives.h"
#include "config/values.h"

namespace holdfast {
namespace {

constexpr size_t kMaxTagBytes = 32;
constexpr size_t kMaxPkiPerListener = 32;
constexpr uint16_t kSmtpPort = 25;
constexpr uint16_t kSmtpsPort = 465;

// What `no-extension` may name, as EHLO does.
constexpr absl::string_view kExtensions[] = {
    "BINARYMIME",    "CHUNKING", "DELIVERBY",   "DSN",
    "FUTURERELEASE", "LIMITS",   "MT-PRIORITY", "PIPELINING",
    "REQUIRETLS",    "SIZE",     "SMTPUTF8"};

bool IsExtension(absl::string_view name) {
  return std::find(std::begin(kExtensions), std::end(kExtensions), name) !=
         std::end(kExtensions);
}

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
  std::set<std::string> seen;  // options given, by the group they exclude

  bool First(const std::string& option) { return seen.insert(option).second; }
};

bool DirectiveParser::ParseListen() {
  if (!ExpectKeyword("on")) return false;
  if (TakeKeyword("socket")) return ParseSocketListener();
  return ParseInterfaceListener();
}

bool DirectiveParser::ParseListenTag(bool seen, std::string* tag) {
  std::string text;
  if (!ExpectString(&text)) return false;
  if (seen) return Fail("tag already specified");
  if (text.size() > kMaxTagBytes) return Fail("tag name too long");
  *tag = text;
  return true;
}

bool DirectiveParser::ParseSocketListener() {
  if (socket_listener_seen_) return Fail("socket listener already configured");
  socket_listener_seen_ = true;
  ListenOptions options;
  Listener& listener = config_->socket_listener;
  listener.position = lexer_.position();
  while (PeekAnyKeyword({"filter", "mask-src", "no-dsn", "tag"})) {
    const std::string word = Take().text;
    if (word == "tag") {
      if (!ParseListenTag(!options.First(word), &listener.tag)) return false;
    } else if (word == "filter") {
      if (!options.First(word)) return Fail("filter already specified");
      if (!ParseFilterReference(&listener.filter)) return false;
    } else if (!options.First(word)) {
      return Fail(absl::StrCat(word == "no-dsn" ? word : "mask-source",
                               " already specified"));
    } else {
      (word == "no-dsn" ? listener.no_dsn : listener.mask_src) = true;
    }
  }
  return true;
}

bool DirectiveParser::ParseInterfaceListener() {
  ListenOptions options;
  if (!ExpectString(&options.listener.where)) return false;
  options.listener.position = lexer_.position();
  while (true) {
    bool taken = false;
    if (!ParseListenTls(&options, &taken)) return false;
    if (!taken && !ParseListenFlag(&options, &taken)) return false;
    if (!taken && !ParseListenArgument(&options, &taken)) return false;
    if (!taken && !ParseListenOptionOfOurs(&options, &taken)) return false;
    if (!taken) break;
  }
  // What no option begins with comes before what the options lack.
  if (Peek().kind != Token::Kind::kNewline &&
      Peek().kind != Token::Kind::kEnd) {
    expected_.push_back("the end of the line");
    return SyntaxError();
  }
  return FinishListener(&options);
}

// The reference's checks of the whole line, in its order.
bool DirectiveParser::FinishListener(ListenOptions* options) {
  Listener& listener = options->listener;
  const bool tls = listener.tls != Listener::Tls::kNone;
  if (listener.auth != Listener::Auth::kNone && !tls) {
    FailPlain("invalid listen option: auth requires tls/smtps");
    HintPosition();
    return false;
  }
  if (!listener.pki.empty() && !tls) {
    FailPlain("invalid listen option: pki requires tls/smtps");
    HintPosition();
    return false;
  }
  if (listener.pki.empty() && tls) {
    FailPlain("invalid listen option: pki required for tls/smtps");
    HintPosition();
    Hint("declare 'pki NAME cert \"FILE\" key \"FILE\"' and add 'pki NAME'");
    return false;
  }
  for (const std::string& name : listener.pki) {
    if (config_->pkis.count(name) == 0) {
      return FailUnknownName("pki name not found: ", name,
                             KeysOf(config_->pkis));
    }
  }
  if (!listener.ca.empty() && config_->cas.count(listener.ca) == 0) {
    return FailUnknownName("ca name not found: ", listener.ca,
                           KeysOf(config_->cas));
  }
  config_->listeners.push_back(std::move(listener));
  return true;
}

bool DirectiveParser::ParseListenTls(ListenOptions* options, bool* taken) {
  if (!PeekAnyKeyword({"tls", "tls-require", "smtps"})) return true;
  *taken = true;
  const std::string word = Take().text;
  Listener& listener = options->listener;
  const bool verify = word != "tls" && TakeKeyword("verify");
  if (!options->First("tls")) return Fail("TLS mode already specified");
  listener.tls = word == "tls"           ? Listener::Tls::kOffered
                 : word == "tls-require" ? Listener::Tls::kRequired
                                         : Listener::Tls::kSmtps;
  listener.tls_verify = verify;
  if (word == "smtps" && options->seen.count("port") == 0) {
    listener.port = kSmtpsPort;
  }
  return true;
}

// Options without an argument.
bool DirectiveParser::ParseListenFlag(ListenOptions* options, bool* taken) {
  struct Flag {
    absl::string_view word;
    absl::string_view name;  // in messages
    bool* field;
  };
  Listener& listener = options->listener;
  if (PeekAnyKeyword({"inet4", "inet6"})) {
    *taken = true;
    const bool inet4 = Take().text == "inet4";
    if (!options->First("family")) {
      return Fail("address family already specified");
    }
    listener.family =
        inet4 ? Listener::Family::kInet4 : Listener::Family::kInet6;
    return true;
  }
  bool proxy = false;
  for (const Flag& flag :
       {Flag{"mask-src", "mask-source", &listener.mask_src},
        Flag{"no-dsn", "no-dsn", &listener.no_dsn},
        Flag{"received-auth", "received-auth", &listener.received_auth},
        Flag{"proxy-v2", "proxy-v2", &proxy}}) {
    if (!TakeKeyword(flag.word)) continue;
    *taken = true;
    if (!options->First(std::string(flag.word))) {
      return Fail(absl::StrCat(flag.name, " already specified"));
    }
    *flag.field = true;
    return !proxy || SetProxy(options, Listener::Proxy::kV2);
  }
  return true;
}

bool DirectiveParser::SetProxy(ListenOptions* options, Listener::Proxy proxy) {
  if (!options->First("proxy")) return Fail("proxy version already specified");
  options->listener.proxy = proxy;
  return true;
}

bool DirectiveParser::ParseListenArgument(ListenOptions* options, bool* taken) {
  Listener& listener = options->listener;
  *taken = true;
  if (TakeKeyword("port")) return ParseListenPort(options);
  if (PeekAnyKeyword({"auth", "auth-optional"})) {
    return ParseListenAuth(options);
  }
  if (TakeKeyword("hostname")) {
    return ExpectString(&listener.hostname) &&
           (options->First("hostname") || Fail("hostname already specified"));
  }
  if (PeekAnyKeyword({"hostnames", "senders"})) {
    return ParseListenTables(options);
  }
  if (TakeKeyword("tag")) {
    return ParseListenTag(!options->First("tag"), &listener.tag);
  }
  if (TakeKeyword("filter")) {
    if (!options->First("filter")) return Fail("filter already specified");
    return ParseFilterReference(&listener.filter);
  }
  std::string text;
  if (TakeKeyword("pki")) {
    if (!ExpectString(&text)) return false;
    if (listener.pki.size() == kMaxPkiPerListener) {
      return Fail("too many pki specified");
    }
    listener.pki.push_back(absl::AsciiStrToLower(text));
    return true;
  }
  if (!PeekAnyKeyword({"ca", "ciphers", "protocols"})) {
    *taken = false;
    return true;
  }
  const std::string word = Take().text;
  if (!ExpectString(&text)) return false;
  if (!options->First(word)) {
    return Fail(absl::StrCat(word, " already specified"));
  }
  if (word == "protocols" && !CheckProtocols(text)) return false;
  (word == "ca"        ? listener.ca
   : word == "ciphers" ? listener.ciphers
                       : listener.protocols) =
      word == "ca" ? absl::AsciiStrToLower(text) : text;
  return true;
}

bool DirectiveParser::ParseListenAuth(ListenOptions* options) {
  const bool required = Take().text == "auth";
  TableRef table;
  if (PeekTableArgument() && !ParseTableArgument(&table)) return false;
  if (!options->First("auth")) return Fail("auth already specified");
  options->listener.auth =
      required ? Listener::Auth::kRequired : Listener::Auth::kOptional;
  options->listener.auth_table = table;
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

bool DirectiveParser::ParseListenTables(ListenOptions* options) {
  const std::string word = Take().text;
  Listener& listener = options->listener;
  TableRef table;
  if (!ParseTableArgument(&table)) return false;
  if (!options->First(word)) {
    return Fail(absl::StrCat(word, " already specified"));
  }
  const bool senders = word == "senders";
  if (!FitsUse(
          table, kMaps,
          senders ? TableService::kMailaddrMap : TableService::kAddrname)) {
    return Fail(absl::StrFormat("invalid use of table \"%s\" as %s parameter",
                                table->name(),
                                senders ? "SENDERS" : "HOSTNAMES"));
  }
  (senders ? listener.senders : listener.hostnames) = table;
  if (senders) listener.senders_masquerade = TakeKeyword("masquerade");
  return true;
}

// Words that the reference does not have.
bool DirectiveParser::ParseListenOptionOfOurs(ListenOptions* options,
                                              bool* taken) {
  Listener& listener = options->listener;
  *taken = true;
  if (TakeWord("proxy-v1")) return SetProxy(options, Listener::Proxy::kV1);
  if (TakeWord("line-ends")) {
    const bool strict = TakeWord("strict");
    if (!strict && !TakeWord("normalise")) return SyntaxError();
    if (!options->First("line-ends")) {
      return Fail("line-ends already specified");
    }
    listener.line_ends =
        strict ? Listener::LineEnds::kStrict : Listener::LineEnds::kNormalise;
    return true;
  }
  if (TakeWord("xclient")) {
    TableRef table;
    if (!ParseTableArgument(&table)) return false;
    if (!options->First("xclient")) return Fail("xclient already specified");
    if (!CheckUse(table, kLists, TableService::kNetaddr, "xclient")) {
      return false;
    }
    listener.xclient = table;
    return true;
  }
  if (TakeWord("no-extension")) {
    std::string name;
    if (!ExpectString(&name)) return false;
    absl::AsciiStrToUpper(&name);
    if (!IsExtension(name)) {
      return FailWithHint(absl::StrCat("unknown extension: ", name), name,
                          {std::begin(kExtensions), std::end(kExtensions)});
    }
    listener.no_extensions.insert(name);
    return true;
  }
  *taken = false;
  return true;
}

}  // namespace holdfast
