#include "server/sandbox/sandbox.h"

namespace holdfast {

SandboxRules RulesOf(Room room, const std::string& folder) {
  SandboxRules rules;
  switch (room) {
    case Room::kQueue:
    case Room::kFilters:
      rules.writable = {folder};
      rules.local = true;
      break;
    case Room::kLookup:
      // Files that aliases include may lie anywhere; the user `_smtpq` must be
      // able to read them all the same.
      rules.readable = {"/"};
      rules.local = true;
      break;
    case Room::kKeys:
      rules.local = true;
      break;
    case Room::kRelay:
      rules.internet = true;
      break;
    default:
      // `receive` has all its sockets from parent, and accepts.
      break;
  }
  return rules;
}

absl::StatusOr<std::vector<std::string>> EnterSandbox(
    const SandboxRules& rules) {
  std::vector<std::string> missing;
  const absl::StatusOr<bool> files = RestrictFiles(rules);
  if (!files.ok()) return files.status();
  if (!*files) missing.push_back("Landlock");
  const absl::StatusOr<bool> calls = RestrictCalls(rules);
  if (!calls.ok()) return calls.status();
  if (!*calls) missing.push_back("seccomp");
  return missing;
}

}  // namespace holdfast
