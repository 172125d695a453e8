// Asks `lookup` for the credentials of a next hop, and what the programs of
// tables say.
#ifndef HOLDFAST_SERVER_RELAY_SECRET_QUESTIONS_H_
#define HOLDFAST_SERVER_RELAY_SECRET_QUESTIONS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "config/table.h"
#include "protocol/sasl_client.h"
#include "server/door/door.h"
#include "server/door/lookup_messages.h"
#include "server/door/table_question.h"
#include "server/loop/event_loop.h"

namespace holdfast {

// An answer that takes longer is a failure; but the program of a table may
// think as long as its `timeout` says, and so much longer is waited for what
// `lookup` says of it then.
inline constexpr absl::Duration kSecretTimeout = absl::Seconds(30);
inline constexpr absl::Duration kProgramMargin = absl::Seconds(5);

// For an answer that comes out of this table.  Null: there is none.
absl::Duration AnswerTimeout(const Table* table);

// Nothing of what comes is kept: it is handed on and wiped.  Used on the loop's
// thread.
class SecretQuestions {
 public:
  // Errors: there are none (kNotFound), or they cannot be known now.
  using Done = absl::AnyInvocable<void(absl::StatusOr<ClientCredentials>)>;

  explicit SecretQuestions(EventLoop* loop) : loop_(loop) {}

  // Replaces the one before.  What is open is asked again: a question waits for
  // a `lookup` that is being started.
  void SetDoor(std::unique_ptr<Door> door);

  // `done` runs in a later turn, not once it is cancelled.
  uint64_t Ask(const std::string& action, const std::string& label,
               absl::Duration timeout, Done done);
  // The same; an error when lookup does not answer.
  using TableDone = absl::AnyInvocable<void(const TableAnswer&)>;
  uint64_t AskTable(TableQuestion question, absl::Duration timeout,
                    TableDone done);
  void Cancel(uint64_t question) {
    open_.erase(question);
    open_tables_.erase(question);
  }

 private:
  struct Open {
    RelaySecretQuestion question;
    Done done;
    EventLoop::Timer timer;
  };

  struct OpenTable {
    TableQuestion question;
    TableDone done;
    EventLoop::Timer timer;
  };

  void On(RelaySecretAnswer& answer);
  void On(const TableAnswer& answer);
  void Answer(uint64_t question, absl::StatusOr<ClientCredentials> answer);
  void Lose();

  EventLoop* const loop_;
  std::unique_ptr<Door> door_;  // null: there is no lookup now
  uint64_t last_question_ = 0;
  std::map<uint64_t, Open> open_;
  std::map<uint64_t, OpenTable> open_tables_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_SECRET_QUESTIONS_H_
