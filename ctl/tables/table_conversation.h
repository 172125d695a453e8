// The program's side of smtpd-tables(7): a line comes, lines go.
#ifndef HOLDFAST_CTL_TABLES_TABLE_CONVERSATION_H_
#define HOLDFAST_CTL_TABLES_TABLE_CONVERSATION_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "ctl/tables/table_answer.h"
#include "protocol/table_lines.h"

namespace holdfast {

class TableConversation {
 public:
  using Answer = std::function<TableAnswer(const TableRequest&)>;

  TableConversation(std::vector<std::string> services, Answer answer)
      : services_(std::move(services)), answer_(std::move(answer)) {}

  // `line` without its end; what is to be written, maybe nothing.  Questions
  // may come without the greeting, as from a terminal.  kInvalidArgument: that
  // is no line of the protocol; nothing of it is in the message.
  absl::StatusOr<std::string> OnLine(absl::string_view line);

 private:
  const std::vector<std::string> services_;
  const Answer answer_;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TABLES_TABLE_CONVERSATION_H_
