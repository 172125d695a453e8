#include "server/relay/resolver_config.h"

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace holdfast {
namespace {

constexpr size_t kMaxServers = 8;
constexpr size_t kMaxSearch = 6;
constexpr int kMaxTimeout = 30;
constexpr int kMaxAttempts = 5;

// The words of a line, without comments.
std::vector<absl::string_view> Words(absl::string_view line) {
  line = line.substr(0, line.find_first_of("#;"));
  return absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
}

std::optional<ResolvConf::Server> ParseServer(absl::string_view text) {
  ResolvConf::Server server;
  if (absl::ConsumePrefix(&text, "[")) {
    const size_t end = text.find("]:");
    uint32_t port = 0;
    if (end == absl::string_view::npos ||
        !absl::SimpleAtoi(text.substr(end + 2), &port) || port == 0 ||
        port > UINT16_MAX)
      return std::nullopt;
    server.port = static_cast<uint16_t>(port);
    text = text.substr(0, end);
  }
  const std::optional<IpAddress> address = IpAddress::Parse(text);
  if (!address) return std::nullopt;
  server.address = *address;
  return server;
}

void ParseOption(absl::string_view option, ResolvConf* conf) {
  int n = 0;
  if (absl::ConsumePrefix(&option, "timeout:") && absl::SimpleAtoi(option, &n))
    conf->timeout = absl::Seconds(std::clamp(n, 1, kMaxTimeout));
  else if (absl::ConsumePrefix(&option, "attempts:") &&
           absl::SimpleAtoi(option, &n))
    conf->attempts = std::clamp(n, 1, kMaxAttempts);
}

}  // namespace

ResolvConf ParseResolvConf(absl::string_view text) {
  ResolvConf conf;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<absl::string_view> words = Words(line);
    if (words.size() < 2) continue;
    if (words[0] == "nameserver" && conf.servers.size() < kMaxServers) {
      if (auto server = ParseServer(words[1])) conf.servers.push_back(*server);
    } else if (words[0] == "search" || words[0] == "domain") {
      conf.search.clear();  // the last one counts
      for (size_t i = 1; i < words.size() && i <= kMaxSearch; ++i)
        conf.search.emplace_back(absl::StripSuffix(words[i], "."));
    } else if (words[0] == "options") {
      for (size_t i = 1; i < words.size(); ++i) ParseOption(words[i], &conf);
    }
  }
  if (conf.servers.empty())
    conf.servers.push_back({*IpAddress::Parse("127.0.0.1")});
  return conf;
}

HostsFile::HostsFile(absl::string_view text) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<absl::string_view> words = Words(line);
    if (words.size() < 2) continue;
    const std::optional<IpAddress> address = IpAddress::Parse(words[0]);
    if (!address) continue;
    names_.try_emplace(*address, words[1]);
    for (size_t i = 1; i < words.size(); ++i) {
      std::vector<IpAddress>& list =
          addresses_[absl::AsciiStrToLower(words[i])];
      if (std::find(list.begin(), list.end(), *address) == list.end())
        list.push_back(*address);
    }
  }
  const IpAddress loopback4 = *IpAddress::Parse("127.0.0.1");
  const IpAddress loopback6 = *IpAddress::Parse("::1");
  names_.try_emplace(loopback4, "localhost");
  names_.try_emplace(loopback6, "localhost");
  addresses_.try_emplace("localhost",
                         std::vector<IpAddress>{loopback4, loopback6});
}

std::vector<IpAddress> HostsFile::Addresses(absl::string_view name) const {
  const auto it = addresses_.find(absl::AsciiStrToLower(name));
  return it == addresses_.end() ? std::vector<IpAddress>() : it->second;
}

std::string HostsFile::Name(const IpAddress& address) const {
  const auto it = names_.find(address);
  return it == names_.end() ? "" : it->second;
}

}  // namespace holdfast
