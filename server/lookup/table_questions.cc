#include "server/lookup/table_questions.h"

#include <algorithm>
#include <utility>

namespace holdfast {
namespace {

using Op = TableQuestion::Op;

bool OfFilters(const Config& config, const Table* table) {
  return std::any_of(config.filters.begin(), config.filters.end(),
                     [table](const auto& one) {
                       return one.second.phase.criterion.table.get() == table;
                     });
}

bool MayAsk(Room asker, const Action& action, const TableQuestion& question,
            const Table* table) {
  const auto is = [&](Op op, TableService service) {
    return question.op == op && question.service == service;
  };
  switch (asker) {
    case Room::kQueue:
      return (action.host.get() == table &&
              is(Op::kFetch, TableService::kRelayhost)) ||
             (action.domain.get() == table &&
              is(Op::kLookup, TableService::kRelayhost));
    case Room::kRelay:
      return (action.src.get() == table &&
              is(Op::kFetch, TableService::kSource)) ||
             (action.helo_src.get() == table &&
              is(Op::kLookup, TableService::kAddrname));
    case Room::kParent:
      return action.userbase.get() == table &&
             is(Op::kLookup, TableService::kUserinfo);
    default:
      return false;
  }
}

}  // namespace

absl::StatusOr<TableQuery> QueryOf(Room asker, const Config& config,
                                   const TableQuestion& question) {
  const auto found = config.tables.find(question.table);
  if (found == config.tables.end() || !found->second->is_process())
    return absl::PermissionDeniedError("no program answers for it");
  const Table* const table = found->second.get();
  const bool may =
      asker == Room::kFilters
          ? question.op == Op::kCheck && OfFilters(config, table) &&
                question.service != TableService::kAuth &&
                question.service != TableService::kCredentials
          : std::any_of(config.actions.begin(), config.actions.end(),
                        [&](const auto& one) {
                          return MayAsk(asker, one.second, question, table);
                        });
  if (!may) return absl::PermissionDeniedError("not for this room");
  const TableOp op = question.op == Op::kCheck    ? TableOp::kCheck
                     : question.op == Op::kLookup ? TableOp::kLookup
                                                  : TableOp::kFetch;
  return MakeTableQuery(*table, op, question.service, question.key);
}

TableAnswer AnswerTo(const TableQuestion& question, TableResult result) {
  TableAnswer answer;
  answer.question = question.question;
  if (!result.ok()) return answer;
  answer.result = result->has_value() ? TableAnswer::Result::kFound
                                      : TableAnswer::Result::kNotFound;
  answer.value = std::move(*result).value_or("");
  return answer;
}

}  // namespace holdfast
