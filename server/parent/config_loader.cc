#include "server/parent/config_loader.h"

#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"

namespace holdfast {

namespace {

void AddFile(const TableRef& table, std::set<std::string>* names) {
  if (table != nullptr && table->is_file()) names->insert(table->name());
}

}  // namespace

LoadedConfig LoadConfig(const ParseOptions& options, const FileReader& read,
                        const TableSealer& seal) {
  LoadedConfig loaded;
  std::map<std::string, size_t> known;
  auto recording = [&](const std::string& path) -> absl::StatusOr<std::string> {
    auto [it, added] = known.try_emplace(path, loaded.files.size());
    if (added) {
      Start::File file;
      file.path = path;
      absl::StatusOr<std::string> contents = read(path);
      if (contents.ok()) {
        file.contents = *std::move(contents);
      } else {
        file.missing = true;
        file.error = std::string(contents.status().message());
      }
      loaded.files.push_back(std::move(file));
    }
    const Start::File& file = loaded.files[it->second];
    if (file.missing) return absl::NotFoundError(file.error);
    return file.contents;
  };
  const auto table_source = [&](const Table& table)
      -> absl::StatusOr<std::shared_ptr<const TableContents>> {
    absl::StatusOr<SealedFile> sealed = seal(table.path());
    if (!sealed.ok()) {
      return absl::Status(
          sealed.status().code(),
          absl::StrCat(table.path(), ": ", sealed.status().message()));
    }
    auto contents = ParseSealed(sealed->memory.get(), table);
    loaded.tables[table.name()] = *std::move(sealed);
    return contents;
  };
  ParseResult parsed = ParseConfig(options, recording, table_source);
  loaded.config = std::move(parsed.config);
  loaded.messages = std::move(parsed.messages);
  loaded.warnings = std::move(parsed.warnings);
  return loaded;
}

std::set<std::string> TablesFor(Room room, const Config& config) {
  std::set<std::string> names;
  if (room == Room::kLookup) {
    for (const auto& [name, table] : config.tables) AddFile(table, &names);
    return names;
  }
  if (room != Room::kQueue && room != Room::kRelay) return names;
  for (const auto& [name, action] : config.actions) {
    for (const TableRef& table : {action.host, action.src, action.helo_src})
      AddFile(table, &names);
    if (room == Room::kRelay) continue;
    for (const TableRef& table : {action.domain, action.auth})
      AddFile(table, &names);
  }
  return names;
}

std::set<std::string> Userbases(const Config& config) {
  std::set<std::string> names;
  for (const auto& [name, action] : config.actions)
    AddFile(action.userbase, &names);
  return names;
}

void KeepOnlyUserbases(const Config& config) {
  const std::set<std::string> kept = Userbases(config);
  for (const auto& [name, table] : config.tables) {
    if (table->is_file() && kept.count(name) == 0) table->Replace(nullptr);
  }
}

}  // namespace holdfast
