// A builtin filter: `filter NAME phase PHASE match CONDITION DECISION`.
// (reference part 1, section 1.11)
#ifndef HOLDFAST_SERVER_FILTERS_BUILTIN_LINK_H_
#define HOLDFAST_SERVER_FILTERS_BUILTIN_LINK_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "config/config.h"
#include "server/filters/filter.h"

namespace holdfast {

// Whether a condition holds, or that nobody can say.
using Matched = absl::AnyInvocable<void(absl::StatusOr<bool>)>;

// Asks a table that is not asked here.  `done` is called later, once, unless
// the room ends; kUnimplemented: its program does not offer the service.
using AskTable = std::function<void(const Table& table, TableService service,
                                    std::string key, Matched done)>;

// Used on the loop's thread only.
class BuiltinLink : public FilterLink {
 public:
  // `filter` and `ask` outlive this.  `delimiter`: of sub-addresses.
  BuiltinLink(const Filter* filter, char delimiter, const AskTable* ask);

  const std::string& name() const override { return filter_->name; }
  Source source() const override { return {"builtin", filter_->name}; }
  bool ready() const override { return true; }
  uint32_t phases() const override { return MaskOf(phase_); }
  // What it must know before it is asked.
  uint32_t events_in() const override;
  uint32_t events_out() const override { return 0; }
  std::unique_ptr<LinkSession> Begin(absl::Time at,
                                     const SessionFacts& facts) override;

  FilterPhase phase() const { return phase_; }
  // `done` is called inside the call or later.
  void Match(const SessionFacts& facts, Matched done) const;
  // What is decided then.
  LinkAnswer Decide(const absl::StatusOr<bool>& matched) const;

 private:
  void MatchTable(std::vector<TableService> services, const std::string& key,
                  Matched done) const;
  // `denied`: a service before said that the key is not there.
  void AskNext(std::vector<TableService> services, std::string key, bool denied,
               Matched done) const;
  LinkAnswer Decision() const;

  const Filter* filter_;
  char delimiter_;
  const AskTable* ask_;
  FilterPhase phase_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_BUILTIN_LINK_H_
