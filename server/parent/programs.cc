#include "server/parent/programs.h"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config/filter_use.h"
#include "protocol/vis.h"
#include "server/parent/system_facts.h"

namespace holdfast {
namespace {

constexpr const char* kFoldersOfOthers[] = {
    "/usr/local/libexec/opensmtpd",
    "/usr/libexec/opensmtpd",  // Debian's
    "/usr/local/libexec/smtpd",     "/usr/libexec/smtpd", "/usr/lib/opensmtpd",
};
// What the shell does not take as it stands.
constexpr char kShellCharacters[] = "\"'\\$`*?[](){}<>|&;~#=";

bool IsRelative(const std::string& command) {
  return command.empty() || command[0] != '/';
}

std::string FirstWord(const std::string& command) {
  return command.substr(0, command.find_first_of(" \t\n"));
}

// Where a relative command stands; with the first folder if it is nowhere: the
// shell then says what is missing.
std::string Located(const std::string& command,
                    const std::vector<std::string>& folders) {
  if (!IsRelative(command)) return command;
  const std::string name = FirstWord(command);
  const std::string found = FindProgram(name, folders);
  if (found.empty()) return absl::StrCat(folders.front(), "/", command);
  return absl::StrCat(found, command.substr(name.size()));
}

bool IsThere(const Processor& processor,
             const std::vector<std::string>& folders) {
  const std::string name = FirstWord(processor.command);
  if (name.find_first_of(kShellCharacters) != std::string::npos) return true;
  if (!IsRelative(name) || !processor.chroot.empty()) {
    const std::string path = absl::StrCat(processor.chroot, "/", name);
    return IsRelative(name) || access(path.c_str(), X_OK) == 0;
  }
  return !FindProgram(name, folders).empty();
}

}  // namespace

std::vector<std::string> ProgramFolders(std::vector<std::string> own) {
  for (const char* folder : kFoldersOfOthers) own.push_back(folder);
  return own;
}

ProgramArguments ProgramSpec::Arguments() const {
  ProgramArguments arguments;
  arguments.user = user;
  arguments.group = group;
  arguments.chroot = chroot;
  if (backend.empty()) {
    arguments.path = "/bin/sh";
    arguments.words = {"/bin/sh", "-c",
                       absl::StrCat("exec ", Located(command, folders))};
    return arguments;
  }
  arguments.path = Located(absl::StrCat("table-", backend), folders);
  arguments.words = {name};
  if (!table_path.empty()) arguments.words.push_back(table_path);
  return arguments;
}

std::vector<ProgramSpec> ProgramsOf(const Config& config, bool privileged,
                                    const std::vector<std::string>& folders) {
  std::vector<ProgramSpec> programs;
  for (const std::string& name : ProcessorsInUse(config)) {
    const Processor& processor = config.processors.at(name);
    ProgramSpec& spec = programs.emplace_back();
    spec.room = Room::kFilters;
    spec.name = name;
    spec.command = processor.command;
    spec.folders = folders;
    if (!privileged) continue;
    spec.user = processor.user.empty() ? kProgramUser : processor.user;
    spec.group = processor.group;
    spec.chroot = processor.chroot;
  }
  for (const auto& [name, table] : config.tables) {
    if (!table->is_process()) continue;
    ProgramSpec& spec = programs.emplace_back();
    spec.room = Room::kLookup;
    spec.name = name;
    spec.backend = table->backend();
    spec.table_path = table->path();
    spec.folders = folders;
    if (privileged) spec.user = kProgramUser;
  }
  return programs;
}

bool HasTableProgram(absl::string_view word,
                     const std::vector<std::string>& folders) {
  return !FindProgram(absl::StrCat("table-", word), folders).empty();
}

std::vector<std::string> MissingPrograms(
    const Config& config, const std::vector<std::string>& folders) {
  std::vector<std::string> lines;
  const auto warn = [&lines](const Processor& processor, absl::string_view what,
                             const std::string& name) {
    lines.push_back(
        absl::StrFormat("%s:%d: warning: processor \"%s\": no %s %s",
                        processor.position.file, processor.position.line,
                        VisEncode(processor.name), what, VisEncode(name)));
  };
  for (const auto& [name, processor] : config.processors) {
    if (!IsThere(processor, folders))
      warn(processor, "program", FirstWord(processor.command));
    if (!processor.user.empty() && getpwnam(processor.user.c_str()) == nullptr)
      warn(processor, "user", processor.user);
    if (!processor.group.empty() &&
        getgrnam(processor.group.c_str()) == nullptr)
      warn(processor, "group", processor.group);
  }
  return lines;
}

}  // namespace holdfast
