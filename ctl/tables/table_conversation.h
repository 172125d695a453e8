// The program's side of smtpd-tables(7): a line comes, lines go.
#ifndef HOLDFAST_CTL_TABLES_TABLE_CONVERSATION_H_
#define HOLDFAST_CTL_TABLES_TABLE_CONVERSATION_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "ctl/tables/table_answer.h"
#include "protocol/table_lines.h"

namespace holdfast {

// A request that seems to be older than this was given its time by hand, or a
// clock has been put right since.
inline constexpr absl::Duration kMaxTableRequestAge = absl::Hours(1);

class TableConversation {
 public:
  struct Setup {
    std::vector<std::string> services;
    std::function<TableAnswer(const TableRequest&)> answer;
    // The wall clock's: requests have theirs.
    std::function<absl::Time()> now;
    // How old a request may be; nobody waits for older ones, so they get an
    // error and answer() is not asked.  Not of kUpdate.
    std::function<absl::Duration()> limit;
  };

  explicit TableConversation(Setup setup) : setup_(std::move(setup)) {}

  // `line` without its end; what is to be written, maybe nothing.  Questions
  // may come without the greeting, as from a terminal.  kInvalidArgument: that
  // is no line of the protocol; nothing of it is in the message.
  absl::StatusOr<std::string> OnLine(absl::string_view line);

 private:
  bool IsTooLate(const TableRequest& request, absl::string_view line) const;

  const Setup setup_;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TABLES_TABLE_CONVERSATION_H_
