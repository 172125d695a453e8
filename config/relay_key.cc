#include "config/relay_key.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

// Length first, so that no part can be taken for two.
void Add(absl::string_view part, std::string* key) {
  absl::StrAppend(key, part.size(), absl::string_view("\0", 1), part);
}

void Add(const TableRef& table, std::string* key) {
  Add(table == nullptr ? absl::string_view() : table->name(), key);
}

}  // namespace

std::string RelayKey(const Action* action, absl::string_view domain,
                     bool smarthost, absl::string_view backup_name) {
  std::string key = smarthost ? "h" : "d";
  Add(smarthost ? std::string(domain) : absl::AsciiStrToLower(domain), &key);
  Add(absl::AsciiStrToLower(backup_name), &key);
  if (action == nullptr) return key;
  // The method: an `lmtp` action says RCPT in its own way.
  key += action->method == ActionMethod::kLmtp
             ? (action->lmtp_rcpt_to ? 'r' : 'l')
             : 'm';
  key += static_cast<char>('0' + static_cast<int>(action->tls));
  for (const std::string* text :
       {&action->helo, &action->pki, &action->ca, &action->ciphers,
        &action->protocols, &action->filter}) {
    Add(*text, &key);
  }
  for (const TableRef* table :
       {&action->src, &action->helo_src, &action->auth}) {
    Add(*table, &key);
  }
  return key;
}

}  // namespace holdfast
