// What `lookup` says of users that are not the system's is believed only if the
// configuration says it, too.
#ifndef HOLDFAST_SERVER_PARENT_USERBASE_CHECK_H_
#define HOLDFAST_SERVER_PARENT_USERBASE_CHECK_H_

#include <cstdint>
#include <set>

#include "config/config.h"
#include "server/door/lookup_messages.h"

namespace holdfast {

// Ids below are accounts of the system itself: the same on every Debian (its
// policy, 9.2.2), and nobody's whose mail a database knows.
inline constexpr uint32_t kFirstNameableId = 100;

// Users that no program of a table may name: root and other accounts of the
// system, those that the server runs as (by their ids), and whoever is in a
// group of these.
bool MayBeNamed(uint32_t uid, uint32_t gid, const std::set<uint32_t>& own_uids);

// The primary groups of these users.  Asks the user database the first time,
// and may wait for it: to be called at the start.  On one thread.
const std::set<uint32_t>& OwnGroups(const std::set<uint32_t>& own_uids);

// Whether some action's userbase table knows the user by these ids and with
// this home (`question.has_user` being set).  Otherwise who has taken over
// `lookup` could have the homes of root looked into.  Of the program of a table
// only `lookup` could say what it knows: then anybody but those above is
// believed.
bool IsInUserbase(const Config& config, const ForwardQuestion& question,
                  const std::set<uint32_t>& own_uids);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_USERBASE_CHECK_H_
