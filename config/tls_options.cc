#include "config/tls_options.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace holdfast {
namespace {

enum Version : unsigned { k10 = 1, k11 = 2, k12 = 4, k13 = 8 };
constexpr unsigned kAll = k12 | k13;

constexpr std::pair<const char*, unsigned> kProtocols[] = {
    {"all", kAll},     {"legacy", kAll}, {"tlsv1", kAll},
    {"default", kAll}, {"secure", kAll}, {"tlsv1.0", k10},
    {"tlsv1.1", k11},  {"tlsv1.2", k12}, {"tlsv1.3", k13},
};

// HIGH leaves out what has no name in the library any more, too.
constexpr char kCompatible[] = "HIGH:!aNULL";
constexpr char kSecure[] = "ECDHE+AESGCM:ECDHE+CHACHA20";
constexpr char kEverything[] = "ALL:!aNULL:!eNULL";

constexpr std::pair<const char*, const char*> kCiphers[] = {
    {"", kCompatible},         {"default", kSecure},    {"secure", kSecure},
    {"compat", kCompatible},   {"legacy", kEverything}, {"all", kEverything},
    {"insecure", kEverything},
};

unsigned VersionsOf(absl::string_view word) {
  for (const auto& [name, versions] : kProtocols) {
    if (absl::EqualsIgnoreCase(word, name)) return versions;
  }
  return 0;
}

}  // namespace

absl::StatusOr<TlsProtocols> ParseTlsProtocols(absl::string_view text) {
  if (text.empty()) return TlsProtocols{};
  const absl::Status failed = absl::InvalidArgumentError(
      absl::StrCat("failed to parse protocols \"", text, "\""));
  unsigned chosen = 0;
  for (absl::string_view word : absl::StrSplit(text, absl::ByAnyChar(",:"))) {
    word = absl::StripAsciiWhitespace(word);
    const bool negated = absl::ConsumePrefix(&word, "!");
    const unsigned versions = VersionsOf(word);
    if (versions == 0) return failed;
    if (negated && chosen == 0) chosen = kAll;
    chosen = negated ? chosen & ~versions : chosen | versions;
  }
  if ((chosen & kAll) == 0) return failed;
  return TlsProtocols{.tls12 = (chosen & k12) != 0,
                      .tls13 = (chosen & k13) != 0};
}

std::string TlsCipherList(absl::string_view text) {
  for (const auto& [name, list] : kCiphers) {
    if (absl::EqualsIgnoreCase(text, name)) return list;
  }
  return std::string(text);
}

}  // namespace holdfast
