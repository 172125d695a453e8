// Asks lookup what the tables say that are not in this room.
#ifndef HOLDFAST_SERVER_FILTERS_TABLE_ASKER_H_
#define HOLDFAST_SERVER_FILTERS_TABLE_ASKER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "config/table.h"
#include "server/door/door.h"
#include "server/door/table_question.h"
#include "server/loop/event_loop.h"

namespace holdfast {

// At once; beyond these a question is an error.
inline constexpr size_t kMaxTableQuestions = 10000;

// Used on the loop's thread only.
class TableAsker {
 public:
  using Done = absl::AnyInvocable<void(absl::StatusOr<bool> found)>;

  explicit TableAsker(EventLoop* loop) : loop_(loop) {}

  // What was open at a door before is an error.
  void SetDoor(std::unique_ptr<Door> door);
  // `done` is called later, once: kUnavailable if the table can't say, or
  // lookup is not there; kUnimplemented if its program does not offer the
  // service.  Not after this is gone.
  void Check(const Table& table, TableService service, std::string key,
             Done done);

 private:
  void FailAll();

  EventLoop* loop_;
  std::unique_ptr<Door> door_;
  uint64_t last_question_ = 0;
  std::map<uint64_t, Done> open_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_TABLE_ASKER_H_
