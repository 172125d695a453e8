#include "config/filter_use.h"

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

void Add(const Config& config, const std::string& name,
         std::set<std::string>* names) {
  const auto found = config.filters.find(name);
  if (found == config.filters.end() || !names->insert(name).second) return;
  // No chain is in a chain.
  for (const std::string& one : found->second.chain) names->insert(one);
}

}  // namespace

std::set<std::string> FiltersInUse(const Config& config) {
  std::set<std::string> names;
  Add(config, config.socket_listener.filter, &names);
  for (const Listener& listener : config.listeners)
    Add(config, listener.filter, &names);
  for (const auto& [name, action] : config.actions)
    Add(config, action.filter, &names);
  return names;
}

std::set<std::string> ProcessorsInUse(const Config& config) {
  std::set<std::string> programs;
  for (const std::string& name : FiltersInUse(config)) {
    const Filter& filter = config.filters.at(name);
    if (filter.kind == Filter::Kind::kProc) programs.insert(filter.proc);
  }
  return programs;
}

std::string FilterFolder(const SpoolPaths& paths) {
  return absl::StrCat(paths.root, "/filters");
}

}  // namespace holdfast
