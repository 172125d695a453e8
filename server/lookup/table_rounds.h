// Waits for programs of tables on behalf of those who cannot wait.
#ifndef HOLDFAST_SERVER_LOOKUP_TABLE_ROUNDS_H_
#define HOLDFAST_SERVER_LOOKUP_TABLE_ROUNDS_H_

#include <functional>
#include <memory>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "config/table_answers.h"
#include "server/lookup/table_processes.h"

namespace holdfast {

// Calls `work` with the answers that there are, as often as it misses one, and
// gives `done` what it returns at last: at once if no program was asked.
template <class Result>
void AskInRounds(
    TableProcesses* tables, std::function<Result(TableAnswers*)> work,
    absl::AnyInvocable<void(Result)> done,
    std::shared_ptr<TableAnswers> answers = std::make_shared<TableAnswers>()) {
  Result result = work(answers.get());
  if (!answers->missing()) return done(std::move(result));
  TableQuery query = *answers->missing();
  tables->Ask(std::move(query), [tables, work = std::move(work),
                                 done = std::move(done),
                                 answers](TableResult said) mutable {
    answers->Give(std::move(said));
    AskInRounds(tables, std::move(work), std::move(done), std::move(answers));
  });
}

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOKUP_TABLE_ROUNDS_H_
