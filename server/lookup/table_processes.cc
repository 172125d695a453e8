#include "server/lookup/table_processes.h"

#include <utility>

namespace holdfast {

TableProcesses::TableProcesses(EventLoop* loop, const Config& config,
                               Services services)
    : loop_(loop), services_(std::move(services)) {
  for (const auto& [name, table] : config.tables) {
    if (!table->is_process()) continue;
    TableProcess::Setup setup;
    setup.loop = loop;
    setup.name = name;
    setup.care = table->care();
    setup.random = services_.random;
    setup.kill = [this, name = name](uint64_t number) {
      ProgramKill kill;
      kill.name = name;
      kill.number = number;
      services_.kill(kill);
    };
    tables_[name].process = std::make_unique<TableProcess>(std::move(setup));
  }
}

bool TableProcesses::OnStarted(const ProgramStarted& started,
                               std::vector<OwnedFd> fds) {
  const auto table = tables_.find(started.name);
  if (table == tables_.end() || fds.size() != 2) return false;
  table->second.log =
      std::make_unique<ProgramLog>(loop_, started.name, std::move(fds[1]));
  table->second.process->OnStarted(started.number,
                                   MakeStream(loop_, fds[0].Release()));
  return true;
}

void TableProcesses::OnEnded(const ProgramEnded& ended) {
  const auto table = tables_.find(ended.name);
  if (table != tables_.end()) table->second.process->OnEnded(ended.number);
}

void TableProcesses::Ask(TableQuery query, Done done) {
  const auto table = tables_.find(query.table);
  if (table != tables_.end())
    return table->second.process->Ask(std::move(query), std::move(done));
  const uint64_t number = ++last_missing_;
  missing_[number] = loop_->RunAfter(
      absl::ZeroDuration(), [this, number, done = std::move(done)]() mutable {
        const EventLoop::Timer self = std::move(missing_.at(number));
        missing_.erase(number);
        done(absl::NotFoundError("no such table of a program"));
      });
}

void TableProcesses::Update(const std::string& table, Done done) {
  TableQuery query;
  query.table = table;
  query.op = TableOp::kUpdate;
  Ask(std::move(query), std::move(done));
}

}  // namespace holdfast
