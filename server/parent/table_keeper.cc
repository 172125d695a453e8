#include "server/parent/table_keeper.h"

#include <fcntl.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "protocol/vis.h"
#include "server/door/table_messages.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

constexpr Room kRoomsWithTables[] = {Room::kLookup, Room::kQueue, Room::kRelay};

struct Reading {
  SealedFile file;
  std::shared_ptr<const TableContents> contents;
  std::string error;
};

// On the thread.
Reading Read(const TableSealer& seal, const Table& table) {
  Reading reading;
  absl::StatusOr<SealedFile> sealed = seal(table.path());
  if (!sealed.ok()) {
    reading.error = absl::StrCat(table.path(), ": ", sealed.status().message());
    return reading;
  }
  reading.file = *std::move(sealed);
  auto contents = ParseSealed(reading.file.memory.get(), table);
  if (contents.ok()) {
    reading.contents = *std::move(contents);
  } else {
    reading.error = std::string(contents.status().message());
  }
  return reading;
}

}  // namespace

TableKeeper::TableKeeper(EventLoop* loop, std::shared_ptr<const Config> config,
                         std::map<std::string, SealedFile> files,
                         ForEachRoom rooms, TableSealer seal)
    : loop_(loop),
      config_(std::move(config)),
      files_(std::move(files)),
      rooms_(std::move(rooms)),
      seal_(std::move(seal)),
      userbases_(Userbases(*config_)),
      background_(loop) {
  KeepOnlyUserbases(*config_);
  for (const auto& [name, file] : files_) {
    if (config_->tables.at(name)->backend() == "db") seen_[name] = file.stamp;
  }
}

void TableKeeper::SendAll(Room room, Door* door) const {
  for (const std::string& name : TablesFor(room, *config_))
    Send(room, door, name, 0);
}

void TableKeeper::Send(Room room, Door* door, const std::string& name,
                       uint64_t question) const {
  const auto file = files_.find(name);
  if (file == files_.end()) return;
  std::vector<OwnedFd> fds;
  fds.emplace_back(fcntl(file->second.memory.get(), F_DUPFD_CLOEXEC, 0));
  if (!fds.back()) {
    LogWarn("warn: %s: no descriptor for table \"%s\"", RoomName(room), name);
    return;
  }
  TableFile message;
  message.name = name;
  message.question = question;
  door->Send(message, std::move(fds));
}

void TableKeeper::Refuse(std::string error, Done done) {
  background_.Run([error = std::move(error),
                   done = std::move(done)]() mutable -> BackgroundWork::Finish {
    return [error = std::move(error), done = std::move(done)]() mutable {
      done(error);
    };
  });
}

void TableKeeper::Update(const std::string& name, uint64_t question,
                         Done done) {
  const auto found = config_->tables.find(name);
  if (found == config_->tables.end()) {
    return Refuse(absl::StrCat("no such table: ", VisEncode(name)),
                  std::move(done));
  }
  const std::shared_ptr<Table> table = found->second;
  if (!table->is_file()) {
    return Refuse(absl::StrCat("table \"", VisEncode(name),
                               "\" is not in a file of its own"),
                  std::move(done));
  }
  if (background_.waiting() >= kMaxTableUpdates)
    return Refuse("too many tables are being read", std::move(done));
  background_.Run([this, table, question, done = std::move(done),
                   seal = seal_]() mutable -> BackgroundWork::Finish {
    return [this, table, question, done = std::move(done),
            reading = Read(seal, *table)]() mutable {
      if (reading.error.empty()) {
        Adopt(table->name(), question, std::move(reading.file),
              std::move(reading.contents));
      }
      done(reading.error);
    };
  });
}

void TableKeeper::Adopt(const std::string& name, uint64_t question,
                        SealedFile file,
                        std::shared_ptr<const TableContents> contents) {
  files_[name] = std::move(file);
  if (userbases_.count(name) != 0)
    config_->tables.at(name)->Replace(std::move(contents));
  for (const Room room : kRoomsWithTables) {
    if (TablesFor(room, *config_).count(name) == 0) continue;
    rooms_(room, [&](Door* door) { Send(room, door, name, question); });
  }
}

void TableKeeper::WatchDbFiles() {
  if (seen_.empty()) return;
  poll_ = loop_->RunAfter(kDbPollInterval, [this] {
    LookAtDbFiles();
    WatchDbFiles();
  });
}

// A file that is gone for the moment, or half written, is looked at again once
// it has changed; the old contents stay.
void TableKeeper::LookAtDbFiles() {
  if (background_.waiting() > 0) return;
  for (auto& [name, seen] : seen_) {
    const absl::StatusOr<FileStamp> now =
        StampOf(config_->tables.at(name)->path());
    if (!now.ok() || *now == seen) continue;
    seen = *now;
    Update(name, 0, [name = name](const std::string& error) {
      if (error.empty()) return;
      LogWarn("warn: table \"%s\": %s; its old contents stay", name,
              VisEncode(error));
    });
  }
}

}  // namespace holdfast
