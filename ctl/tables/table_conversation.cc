#include "ctl/tables/table_conversation.h"

#include <optional>

#include "absl/status/status.h"
#include "protocol/secret.h"

namespace holdfast {

absl::StatusOr<std::string> TableConversation::OnLine(absl::string_view line) {
  using Setting = std::pair<std::string, std::string>;
  if (const std::optional<Setting> setting = ParseTableConfig(line)) {
    if (setting->first == "ready") return TableRegistrations(services_);
    if (setting->first == "protocol" && setting->second != kTableProtocol)
      return absl::InvalidArgumentError(
          "the server speaks another version of the protocol");
    return std::string();
  }
  absl::StatusOr<TableRequest> request = ParseTableRequest(line);
  if (!request.ok()) return request.status();
  TableAnswer answer = answer_(*request);
  TableReply reply{request->op, request->id, answer.result,
                   std::move(answer.text)};
  std::string text = TableReplyLine(reply);
  Wipe(&request->key);
  Wipe(&reply.text);
  return text;
}

}  // namespace holdfast
