#include "server/lookup/relay_secrets.h"

#include <optional>
#include <string>

#include "protocol/secret.h"

namespace holdfast {
namespace {

using Result = RelaySecretAnswer::Result;

// "user:password": the first colon divides, for only passwords have any.
bool Split(const std::string& value, RelaySecretAnswer* answer) {
  const size_t colon = value.find(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == value.size())
    return false;
  answer->user = value.substr(0, colon);
  answer->secret = value.substr(colon + 1);
  return true;
}

}  // namespace

RelaySecretAnswer AnswerRelaySecret(const Config& config,
                                    const RelaySecretQuestion& question,
                                    TableAnswers* answers) {
  RelaySecretAnswer answer;
  answer.question = question.question;
  const auto action = config.actions.find(question.action);
  if (action == config.actions.end() ||
      action->second.method != ActionMethod::kRelay ||
      action->second.auth == nullptr || question.label.empty())
    return answer;
  absl::StatusOr<std::optional<std::string>> value = answers->Lookup(
      *action->second.auth, TableService::kCredentials, question.label);
  if (!value.ok()) return answer;
  if (!value->has_value()) {
    answer.result = Result::kNotFound;
    return answer;
  }
  if (Split(**value, &answer)) answer.result = Result::kFound;
  Wipe(&**value);
  return answer;
}

}  // namespace holdfast
