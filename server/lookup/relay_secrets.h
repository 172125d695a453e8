// What `relay` says to a next hop about who we are: `auth <table>` of a relay
// action (smtpd.conf(5); reference part 2, section 3.9).
#ifndef HOLDFAST_SERVER_LOOKUP_RELAY_SECRETS_H_
#define HOLDFAST_SERVER_LOOKUP_RELAY_SECRETS_H_

#include "config/config.h"
#include "config/table_answers.h"
#include "server/door/lookup_messages.h"

namespace holdfast {

// No table but the `auth` of the relay action that is named can be asked
// through this, and only for one label at a time (promise P7).  kNotFound: the
// label is not in the table.  kError: there is no such action or table, it
// cannot be asked, or the value is not "user:password".  Who sends the answer
// wipes it.  If `answers` then misses one, it counts for nothing.
RelaySecretAnswer AnswerRelaySecret(const Config& config,
                                    const RelaySecretQuestion& question,
                                    TableAnswers* answers);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOKUP_RELAY_SECRETS_H_
