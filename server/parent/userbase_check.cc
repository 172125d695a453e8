#include "server/parent/userbase_check.h"

#include <optional>
#include <string>

#include "config/userinfo.h"

namespace holdfast {

bool MayBeNamed(uint32_t uid, const std::set<uint32_t>& own_uids) {
  return uid != 0 && own_uids.count(uid) == 0;
}

bool IsInUserbase(const Config& config, const ForwardQuestion& question,
                  const std::set<uint32_t>& own_uids) {
  for (const auto& [name, action] : config.actions) {
    if (action.userbase == nullptr) continue;
    if (action.userbase->is_process() && MayBeNamed(question.uid, own_uids))
      return true;
    if (!action.userbase->is_static()) continue;
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
