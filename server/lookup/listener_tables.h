// The tables that listeners name, as `receive` may ask for them: only these,
// and only a key at a time (promise P7).
#ifndef HOLDFAST_SERVER_LOOKUP_LISTENER_TABLES_H_
#define HOLDFAST_SERVER_LOOKUP_LISTENER_TABLES_H_

#include "config/config.h"
#include "config/table_answers.h"
#include "server/door/lookup_messages.h"

namespace holdfast {

// Answers all but kScram.  kError: the listener names no such table, or the
// table can't be asked.  If `answers` then misses one, it counts for nothing.
// (reference part 1, sections 1.9, 2.4 and 4.6)
ListenerTableAnswer AskListenerTable(const Config& config,
                                     const ListenerTableQuestion& question,
                                     TableAnswers* answers);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOKUP_LISTENER_TABLES_H_
