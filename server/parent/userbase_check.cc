#include "server/parent/userbase_check.h"

#include <pwd.h>

#include <map>
#include <optional>
#include <string>

#include "config/userinfo.h"

namespace holdfast {

bool MayBeNamed(uint32_t uid, uint32_t gid,
                const std::set<uint32_t>& own_uids) {
  return uid >= kFirstNameableId && gid >= kFirstNameableId &&
         own_uids.count(uid) == 0 && OwnGroups(own_uids).count(gid) == 0;
}

// They do not change while we run, and parent's loop must not wait.
const std::set<uint32_t>& OwnGroups(const std::set<uint32_t>& own_uids) {
  static auto* const known =
      new std::map<std::set<uint32_t>, std::set<uint32_t>>;
  const auto [it, added] = known->try_emplace(own_uids);
  if (!added) return it->second;
  for (const uint32_t uid : own_uids) {
    if (const passwd* found = getpwuid(uid)) it->second.insert(found->pw_gid);
  }
  return it->second;
}

bool IsInUserbase(const Config& config, const ForwardQuestion& question,
                  const std::set<uint32_t>& own_uids) {
  for (const auto& [name, action] : config.actions) {
    if (action.userbase == nullptr) continue;
    if (action.userbase->is_process() &&
        MayBeNamed(question.uid, question.gid, own_uids))
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
