#include "server/queue/program_hops.h"

#include <utility>

#include "absl/status/status.h"

namespace holdfast {

using Op = TableQuestion::Op;

absl::StatusOr<TableAnswer> ProgramHops::Next(const Table& table,
                                              DestinationId destination) {
  return Find(table, Op::kFetch, "", destination);
}

absl::StatusOr<TableAnswer> ProgramHops::For(const Table& table,
                                             const std::string& domain,
                                             DestinationId destination) {
  return Find(table, Op::kLookup, domain, destination);
}

absl::StatusOr<TableAnswer> ProgramHops::Find(const Table& table, Op op,
                                              const std::string& key,
                                              DestinationId destination) {
  const Key place{table.name(), op, key, destination};
  const auto found = hops_.find(place);
  if (found != hops_.end()) {
    if (found->second.asked) return absl::UnavailableError("is being asked");
    const bool fresh = loop_->Elapsed() < found->second.until;
    TableAnswer answer = found->second.answer;
    const bool error = answer.result == TableAnswer::Result::kError;
    // An error is told once.
    if (!fresh || op == Op::kFetch || error) hops_.erase(found);
    if (fresh && error && FailsBriefly(table.name()))
      return absl::UnavailableError("cannot be asked now");
    if (fresh) return answer;
  }
  if (hops_.size() >= kMaxKept)
    std::erase_if(hops_, [](const auto& hop) { return !hop.second.asked; });
  hops_[place] = Hop();
  TableQuestion question;
  question.table = table.name();
  question.op = op;
  question.service = TableService::kRelayhost;
  question.key = key;
  ask_(std::move(question), [this, place](TableAnswer answer) {
    Hop& hop = hops_[place];
    hop.asked = false;
    hop.answer = std::move(answer);
    hop.until = loop_->Elapsed() + kFresh;
    const std::string& table = std::get<0>(place);
    if (hop.answer.result == TableAnswer::Result::kError)
      failing_.try_emplace(table, loop_->Elapsed());
    else
      failing_.erase(table);
    wake_(std::get<DestinationId>(place));
  });
  return absl::UnavailableError("is being asked");
}

bool ProgramHops::FailsBriefly(const std::string& table) const {
  const auto failing = failing_.find(table);
  return failing == failing_.end() ||
         loop_->Elapsed() - failing->second < kErrorGrace;
}

}  // namespace holdfast
