#include "server/parent/config_loader.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "config/filter_table.h"
#include "config/print.h"

namespace holdfast {

namespace {

void AddFile(const TableRef& table, std::set<std::string>* names) {
  if (table != nullptr && table->is_file()) names->insert(table->name());
}

bool HoldsQueueKey(const Config& config) {
  return config.queue_key.size() == kQueueKeyBytes ||
         (config.queue_previous_key.has_value() &&
          config.queue_previous_key->size() == kQueueKeyBytes);
}

// What is printed has no includes and macros; of the other files it needs those
// that are asked for again.
std::vector<Start::File> WithoutQueueKeys(ParseOptions options,
                                          const LoadedConfig& loaded) {
  std::vector<Start::File> files(1);
  files[0].path = options.path;
  files[0].contents = ConfigToTextWithoutQueueKeys(*loaded.config);
  const auto read =
      [&](const std::string& path) -> absl::StatusOr<std::string> {
    if (path == options.path) return files[0].contents;
    for (const Start::File& file : loaded.files) {
      if (file.path != path || file.missing) continue;
      files.push_back(file);
      return file.contents;
    }
    return absl::NotFoundError("not given");
  };
  ParseConfig(options, read, [](const Table&) {
    return std::shared_ptr<const TableContents>();
  });
  return files;
}

bool FiltersCompareWith(const Config& config, const Table& table) {
  return std::any_of(config.filters.begin(), config.filters.end(),
                     [&table](const auto& one) {
                       return one.second.phase.criterion.table.get() == &table;
                     });
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
  if (loaded.config != nullptr && HoldsQueueKey(*loaded.config))
    loaded.files_without_queue_keys = WithoutQueueKeys(options, loaded);
  return loaded;
}

bool MaySee(Room room, const Config& config, const Table& table) {
  if (room == Room::kLookup) return true;
  if (room == Room::kFilters)
    return IsHeldByFilters(table) && FiltersCompareWith(config, table);
  if (room != Room::kQueue && room != Room::kRelay) return false;
  const auto is_this = [&table](const TableRef& used) {
    return used.get() == &table;
  };
  for (const auto& [name, action] : config.actions) {
    if (is_this(action.host) || is_this(action.src) || is_this(action.helo_src))
      return true;
    if (room == Room::kQueue &&
        (is_this(action.domain) || is_this(action.auth)))
      return true;
  }
  return false;
}

std::set<std::string> TablesFor(Room room, const Config& config) {
  std::set<std::string> names;
  for (const auto& [name, table] : config.tables) {
    if (table->is_file() && MaySee(room, config, *table)) names.insert(name);
  }
  return names;
}

std::vector<Start::File> FilesFor(Room room, const std::string& config_path,
                                  const LoadedConfig& loaded) {
  if (room == Room::kLookup || room == Room::kQueue) {
    return loaded.files_without_queue_keys.empty()
               ? loaded.files
               : loaded.files_without_queue_keys;
  }
  const Config& config = *loaded.config;
  Start::File file;
  file.path = config_path;
  // Of a builtin filter's table nobody asks for values.
  file.contents = ConfigToTextWithoutSecrets(
      config, [&](const Table& table) { return MaySee(room, config, table); },
      room != Room::kFilters);
  return {std::move(file)};
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
