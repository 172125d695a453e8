#include "ctl/tables/table_conversation.h"

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "protocol/secret.h"

namespace holdfast {
namespace {

// Of a line that is a request: "table|0.1|TIME|...".  What is no number is the
// epoch.
absl::Time RequestTime(absl::string_view line) {
  const std::vector<absl::string_view> fields =
      absl::StrSplit(line, absl::MaxSplits('|', 3));
  double seconds = 0;
  if (fields.size() < 3 || !absl::SimpleAtod(fields[2], &seconds)) seconds = 0;
  return absl::UnixEpoch() + absl::Seconds(seconds);
}

}  // namespace

bool TableConversation::IsTooLate(const TableRequest& request,
                                  absl::string_view line) const {
  if (request.op == TableOp::kUpdate) return false;
  const absl::Duration age = setup_.now() - RequestTime(line);
  return age > setup_.limit() && age < kMaxTableRequestAge;
}

absl::StatusOr<std::string> TableConversation::OnLine(absl::string_view line) {
  using Setting = std::pair<std::string, std::string>;
  if (const std::optional<Setting> setting = ParseTableConfig(line)) {
    if (setting->first == "ready") return TableRegistrations(setup_.services);
    if (setting->first == "protocol" && setting->second != kTableProtocol)
      return absl::InvalidArgumentError(
          "the server speaks another version of the protocol");
    return std::string();
  }
  absl::StatusOr<TableRequest> request = ParseTableRequest(line);
  if (!request.ok()) return request.status();
  TableAnswer answer = IsTooLate(*request, line) ? TableError("too late")
                                                 : setup_.answer(*request);
  TableReply reply{request->op, request->id, answer.result,
                   std::move(answer.text)};
  std::string text = TableReplyLine(reply);
  Wipe(&request->key);
  Wipe(&reply.text);
  return text;
}

}  // namespace holdfast
