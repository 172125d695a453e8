// What the program of a table has said lately, for the time when it does not
// answer: `keep TIME` of the table (docs/CONFIGURATION.md).
#ifndef HOLDFAST_SERVER_LOOKUP_KEPT_ANSWERS_H_
#define HOLDFAST_SERVER_LOOKUP_KEPT_ANSWERS_H_

#include <cstddef>
#include <list>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "config/table_answers.h"

namespace holdfast {

// Of one table; who was given longest ago goes first.
inline constexpr size_t kMaxKeptAnswers = 50000;
inline constexpr size_t kMaxKeptBytes = 16 << 20;  // of keys and values

// Times are EventLoop::Elapsed().  Passwords and what says whether they are
// right (credentials, auth) are never kept: who has lost an account must not
// get in because a database is down.
class KeptAnswers {
 public:
  // Zero: nothing is kept.
  explicit KeptAnswers(absl::Duration keep) : keep_(keep) {}

  // An answer, found or not found.
  void Put(const TableQuery& query, const std::optional<std::string>& answer,
           absl::Duration now);
  // Null: none that is young enough.
  const std::optional<std::string>* Get(const TableQuery& query,
                                        absl::Duration now) const;
  void Clear();

  size_t size() const { return order_.size(); }

 private:
  struct Entry {
    std::string key;
    std::optional<std::string> answer;
    absl::Duration until;
    size_t bytes() const { return key.size() + (answer ? answer->size() : 0); }
  };
  using Order = std::list<Entry>;

  void Drop(Order::iterator entry);

  const absl::Duration keep_;
  Order order_;  // oldest first
  absl::flat_hash_map<std::string, Order::iterator> entries_;
  size_t bytes_ = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOKUP_KEPT_ANSWERS_H_
