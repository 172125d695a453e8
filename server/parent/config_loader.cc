#include "server/parent/config_loader.h"

#include <map>
#include <set>
#include <utility>

namespace holdfast {

LoadedConfig LoadConfig(const ParseOptions& options, const FileReader& read) {
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
  ParseResult parsed = ParseConfig(options, recording);
  loaded.config = std::move(parsed.config);
  loaded.messages = std::move(parsed.messages);
  loaded.warnings = std::move(parsed.warnings);
  return loaded;
}

std::vector<Start::File> FilesFor(Room room, const std::string& config_path,
                                  const LoadedConfig& loaded) {
  std::vector<Start::File> files = loaded.files;
  if (room == Room::kLookup || room == Room::kQueue) return files;
  std::set<std::string> hidden;
  for (const auto& [name, table] : loaded.config->tables) {
    if (!table->path().empty()) hidden.insert(table->path());
  }
  if (room == Room::kRelay) {
    for (const auto& [name, action] : loaded.config->actions) {
      for (const TableRef& table : {action.host, action.src, action.helo_src}) {
        if (table != nullptr) hidden.erase(table->path());
      }
    }
  }
  hidden.erase(config_path);
  for (Start::File& file : files) {
    if (hidden.count(file.path) != 0) file.contents.clear();
  }
  return files;
}

}  // namespace holdfast
