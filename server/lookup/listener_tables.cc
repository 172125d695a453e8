#include "server/lookup/listener_tables.h"

#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace holdfast {
namespace {

using Table = ListenerTableQuestion::Table;
using Result = ListenerTableAnswer::Result;

ListenerTableAnswer Found(absl::string_view value) {
  ListenerTableAnswer answer;
  answer.result = Result::kFound;
  answer.value = std::string(value);
  return answer;
}

ListenerTableAnswer NotFound() {
  ListenerTableAnswer answer;
  answer.result = Result::kNotFound;
  return answer;
}

TableRef TableOf(const Listener& listener, Table which) {
  switch (which) {
    case Table::kHostnames:
      return listener.hostnames;
    case Table::kSenders:
      return listener.senders;
    case Table::kXclient:
      return listener.xclient;
    default:
      return nullptr;
  }
}

// Whether the sender is one of those that the user may use.  The null sender
// is "@", which needs an entry "@".
ListenerTableAnswer FindSender(const std::string& list,
                               const std::string& sender, char delimiter) {
  std::string first;
  bool allowed = false;
  for (const absl::string_view part : absl::StrSplit(list, ',')) {
    const absl::string_view entry = absl::StripAsciiWhitespace(part);
    if (entry.empty()) continue;
    if (first.empty()) first = std::string(entry);
    allowed = allowed || MailaddrMatches(entry, sender, delimiter);
  }
  return allowed ? Found(first) : NotFound();
}

// An address plain or in brackets.
std::string WithoutBrackets(absl::string_view address) {
  if (address.size() < 2 || address.front() != '[' || address.back() != ']') {
    return std::string(address);
  }
  return std::string(address.substr(1, address.size() - 2));
}

ListenerTableAnswer Ask(const Config& config, const TableRef& table,
                        const ListenerTableQuestion& question,
                        TableAnswers* answers) {
  if (question.table == Table::kXclient) {
    const auto matches = answers->Check(*table, TableService::kNetaddr,
                                        WithoutBrackets(question.key));
    if (!matches.ok()) return ListenerTableAnswer{};
    return *matches ? Found("") : NotFound();
  }
  const bool senders = question.table == Table::kSenders;
  const TableService service =
      senders ? TableService::kMailaddrMap : TableService::kAddrname;
  auto value =
      answers->Lookup(*table, service, question.key, config.sub_addr_delim);
  // The reference asks for "[::1]"; table(5) shows "::1".
  if (!senders && WithoutBrackets(question.key) != question.key && value.ok() &&
      !value->has_value())
    value = answers->Lookup(*table, service, WithoutBrackets(question.key));
  if (!value.ok()) return ListenerTableAnswer{};
  if (!value->has_value()) return NotFound();
  if (!senders) return Found(**value);
  const std::string sender = question.sender.empty() ? "@" : question.sender;
  return FindSender(**value, sender, config.sub_addr_delim);
}

}  // namespace

ListenerTableAnswer AskListenerTable(const Config& config,
                                     const ListenerTableQuestion& question,
                                     TableAnswers* answers) {
  ListenerTableAnswer answer;
  if (question.listener < config.listeners.size()) {
    const TableRef table =
        TableOf(config.listeners[question.listener], question.table);
    if (table != nullptr) answer = Ask(config, table, question, answers);
  }
  answer.question = question.question;
  return answer;
}

}  // namespace holdfast
