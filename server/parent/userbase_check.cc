#include "server/parent/userbase_check.h"

#include <optional>
#include <string>

#include "config/userinfo.h"

namespace holdfast {

bool IsInUserbase(const Config& config, const ForwardQuestion& question) {
  for (const auto& [name, action] : config.actions) {
    if (action.userbase == nullptr || !action.userbase->is_static()) continue;
    const absl::StatusOr<std::optional<std::string>> value =
        action.userbase->Lookup(TableService::kUserinfo, question.name);
    if (!value.ok() || !value->has_value()) continue;
    const std::optional<Userinfo> info = ParseUserinfo(**value);
    if (info && info->uid == question.uid && info->gid == question.gid &&
        info->home == question.home)
      return true;
  }
  return false;
}

}  // namespace holdfast
