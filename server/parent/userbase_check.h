// What `lookup` says of users that are not the system's is believed only if the
// configuration says it, too.
#ifndef HOLDFAST_SERVER_PARENT_USERBASE_CHECK_H_
#define HOLDFAST_SERVER_PARENT_USERBASE_CHECK_H_

#include "config/config.h"
#include "server/door/lookup_messages.h"

namespace holdfast {

// Whether some action's userbase table knows the user by these ids and with
// this home (`question.has_user` being set).  Otherwise who has taken over
// `lookup` could have the homes of root looked into.
bool IsInUserbase(const Config& config, const ForwardQuestion& question);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_USERBASE_CHECK_H_
