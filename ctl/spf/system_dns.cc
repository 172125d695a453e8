#include "ctl/spf/system_dns.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>

#include <utility>

namespace holdfast {
namespace {

constexpr size_t kMaxAnswer = 65535;
constexpr size_t kMxPreference = 2;  // octets before the name

const unsigned char* Octets(const std::string& text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

SystemDns::SystemDns() { res_ninit(&state_); }

SystemDns::~SystemDns() { res_nclose(&state_); }

SystemDns::Answer SystemDns::Ask(const std::string& name, int type) {
  Answer answer;
  answer.message.resize(kMaxAnswer);
  const int n = res_nquery(
      &state_, name.c_str(), ns_c_in, type,
      reinterpret_cast<unsigned char*>(answer.message.data()), kMaxAnswer);
  ns_msg message;
  if (n < 0 || static_cast<size_t>(n) > kMaxAnswer ||
      ns_initparse(Octets(answer.message), n, &message) != 0)
    return {};
  answer.message.resize(static_cast<size_t>(n));
  for (int i = 0; i < ns_msg_count(message, ns_s_an); ++i) {
    ns_rr record;
    if (ns_parserr(&message, ns_s_an, i, &record) != 0) break;
    if (ns_rr_type(record) != type || ns_rr_class(record) != ns_c_in) continue;
    answer.at.push_back(
        static_cast<size_t>(ns_rr_rdata(record) - Octets(answer.message)));
    answer.length.push_back(ns_rr_rdlen(record));
  }
  return answer;
}

std::vector<std::string> SystemDns::Texts(const std::string& name) {
  const Answer answer = Ask(name, ns_t_txt);
  std::vector<std::string> texts;
  for (size_t i = 0; i < answer.at.size(); ++i)
    texts.push_back(
        JoinTxtStrings(absl::string_view(answer.message)
                           .substr(answer.at[i], answer.length[i])));
  return texts;
}

std::vector<std::string> SystemDns::Exchanges(const std::string& name) {
  const Answer answer = Ask(name, ns_t_mx);
  const unsigned char* begin = Octets(answer.message);
  std::vector<std::string> hosts;
  for (size_t i = 0; i < answer.at.size(); ++i) {
    char host[NS_MAXDNAME];
    if (answer.length[i] <= kMxPreference ||
        dn_expand(begin, begin + answer.message.size(),
                  begin + answer.at[i] + kMxPreference, host, sizeof host) < 0)
      continue;
    // A null MX (RFC 7505) has no name.
    if (host[0] != '\0') hosts.emplace_back(host);
  }
  return hosts;
}

std::vector<std::string> SystemDns::Addresses(const std::string& name, int type,
                                              int family, size_t size) {
  const Answer answer = Ask(name, type);
  std::vector<std::string> addresses;
  for (size_t i = 0; i < answer.at.size(); ++i) {
    char text[INET6_ADDRSTRLEN];
    if (answer.length[i] == size &&
        inet_ntop(family, answer.message.data() + answer.at[i], text,
                  sizeof text) != nullptr)
      addresses.emplace_back(text);
  }
  return addresses;
}

std::vector<std::string> SystemDns::Addresses4(const std::string& name) {
  return Addresses(name, ns_t_a, AF_INET, sizeof(in_addr));
}

std::vector<std::string> SystemDns::Addresses6(const std::string& name) {
  return Addresses(name, ns_t_aaaa, AF_INET6, sizeof(in6_addr));
}

}  // namespace holdfast
