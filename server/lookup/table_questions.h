// What other rooms may ask the programs of tables through us (TableQuestion).
#ifndef HOLDFAST_SERVER_LOOKUP_TABLE_QUESTIONS_H_
#define HOLDFAST_SERVER_LOOKUP_TABLE_QUESTIONS_H_

#include "absl/status/statusor.h"
#include "config/config.h"
#include "config/table_answers.h"
#include "server/door/room.h"
#include "server/door/table_question.h"

namespace holdfast {

// kPermissionDenied: the configuration gives `asker` no reason to ask that.
// queue: relay hosts of `host` and `domain`; relay: addresses of `src`, names
// of `helo-src`; filters: checks with tables that builtin filters compare with;
// parent: users of userbases.  Passwords nobody.
absl::StatusOr<TableQuery> QueryOf(Room asker, const Config& config,
                                   const TableQuestion& question);

TableAnswer AnswerTo(const TableQuestion& question, TableResult result);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOKUP_TABLE_QUESTIONS_H_
