// All tables of the configuration that programs answer for.
#ifndef HOLDFAST_SERVER_LOOKUP_TABLE_PROCESSES_H_
#define HOLDFAST_SERVER_LOOKUP_TABLE_PROCESSES_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/table_answers.h"
#include "server/door/program_messages.h"
#include "server/lookup/table_process.h"
#include "server/loop/event_loop.h"
#include "server/program_log/program_log.h"
#include "storage/owned_fd.h"

namespace holdfast {

// Used on the loop's thread.
class TableProcesses {
 public:
  using Done = TableProcess::Done;
  struct Services {
    std::function<uint32_t()> random;
    std::function<void(const ProgramKill&)> kill;  // to parent
  };

  TableProcesses(EventLoop* loop, const Config& config, Services services);

  // `fds` as they came with it.  False: there is no such table, or not these
  // descriptors: parent makes no sense.
  bool OnStarted(const ProgramStarted& started, std::vector<OwnedFd> fds);
  void OnEnded(const ProgramEnded& ended);

  bool Has(const std::string& table) const { return tables_.count(table) != 0; }
  // `done` is called in a later turn; never after this object is gone.
  // kNotFound: no program answers for such a table.
  void Ask(TableQuery query, Done done);
  // The program is to read again what it answers from.
  void Update(const std::string& table, Done done);

 private:
  struct Entry {
    std::unique_ptr<TableProcess> process;
    std::unique_ptr<ProgramLog> log;
  };

  EventLoop* const loop_;
  const Services services_;
  std::map<std::string, Entry> tables_;
  // Answers to questions about tables that are not there.
  uint64_t last_missing_ = 0;
  std::map<uint64_t, EventLoop::Timer> missing_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOKUP_TABLE_PROCESSES_H_
