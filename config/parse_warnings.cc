// What is right and still worth a word: the warnings of `smtpd -n`.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "config/directives.h"
#include "config/hints.h"
#include "config/regex_check.h"

namespace holdfast {
namespace {

// What is read becomes part of the configuration, which has a limit; of larger
// tables the line that uses them is named.
constexpr size_t kMaxSearchedTable = 1 << 20;

// The line of a table's file that has the pattern as its key; 0: none.
int FindLine(absl::string_view text, absl::string_view pattern) {
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripLeadingAsciiWhitespace(line);
    if (!absl::StartsWith(line, pattern)) continue;
    line.remove_prefix(pattern.size());
    if (line.empty() || line[0] == ':' || absl::ascii_isspace(line[0])) {
      return number;
    }
  }
  return 0;
}

// `postmaster`, by itself or at some domain, or what catches everything.
bool HasPostmaster(const Table& table) {
  for (const auto& [key, value] : table.entries()) {
    if (key == "postmaster" || key == "@" ||
        absl::StartsWith(key, "postmaster@")) {
      return true;
    }
  }
  return false;
}

// The programs that mail passes in this chain, in order.
std::vector<std::string> ProgramsOf(const Filter& chain, const Config& config) {
  std::vector<std::string> programs;
  for (const std::string& name : chain.chain) {
    const Filter& filter = config.filters.at(name);
    if (filter.kind == Filter::Kind::kProc) programs.push_back(filter.proc);
  }
  return programs;
}

}  // namespace

void DirectiveParser::NoteRegex(const TableRef& table) {
  regex_uses_.push_back({lexer_.position(), table});
  config_->tables.at(table->name())->NoteUse(TableService::kRegex);
}

void DirectiveParser::Warn() {
  std::set<const Table*> seen;
  for (const RegexUse& use : regex_uses_) {
    if (use.table->is_static() && seen.insert(use.table.get()).second) {
      WarnOfPatterns(use);
    }
  }
  WarnOfAliases();
  WarnOfChains();
  WarnOfMilters();
}

void DirectiveParser::WarnOfAliases() {
  for (const auto& [name, action] : config_->actions) {
    if (!action.IsLocal()) continue;
    const TableRef& table =
        action.alias != nullptr ? action.alias : action.virtual_;
    if (table == nullptr || !table->is_static() || HasPostmaster(*table)) {
      continue;
    }
    warnings_.push_back(absl::StrFormat(
        "%s:%d: warning: action \"%s\": no alias for postmaster in table "
        "\"%s\"",
        action.position.file, action.position.line, name, table->name()));
  }
}

// The text of two messages that pass two programs in opposite order may stop
// both: each program waits for the other to read.
void DirectiveParser::WarnOfChains() {
  std::map<std::pair<std::string, std::string>, const Filter*> orders;
  std::vector<const Filter*> chains;
  for (const auto& [name, filter] : config_->filters) {
    if (filter.kind == Filter::Kind::kChain) chains.push_back(&filter);
  }
  std::stable_sort(chains.begin(), chains.end(), [](const auto* a, auto* b) {
    return a->position.line < b->position.line;
  });
  for (const Filter* chain : chains) {
    const std::vector<std::string> programs = ProgramsOf(*chain, *config_);
    for (size_t i = 0; i < programs.size(); ++i) {
      for (size_t j = i + 1; j < programs.size(); ++j) {
        if (programs[i] == programs[j]) continue;
        orders.try_emplace({programs[i], programs[j]}, chain);
        const auto other = orders.find({programs[j], programs[i]});
        if (other == orders.end() || other->second == chain) continue;
        const SourcePosition& at = other->second->position;
        warnings_.push_back(absl::StrFormat(
            "%s:%d: warning: mail passes \"%s\" before \"%s\" here and after "
            "it in the chain of %s:%d: each may come to wait for the other",
            chain->position.file, chain->position.line, Printable(programs[i]),
            Printable(programs[j]), at.file, at.line));
        return;
      }
    }
  }
}

void DirectiveParser::WarnOfMilters() {
  for (const auto& [name, action] : config_->actions) {
    const auto used = config_->filters.find(action.filter);
    if (used == config_->filters.end()) continue;
    std::vector<std::string> names = used->second.chain;
    if (names.empty()) names.push_back(action.filter);
    for (const std::string& one : names) {
      if (config_->filters.at(one).kind != Filter::Kind::kMilter) continue;
      warnings_.push_back(absl::StrFormat(
          "%s:%d: warning: action \"%s\": a milter hears nothing of mail that "
          "is sent on: \"%s\"",
          action.position.file, action.position.line, Printable(name),
          Printable(one)));
    }
  }
}

void DirectiveParser::WarnOfPatterns(const RegexUse& use) {
  const Table& table = *use.table;
  const TableContents& contents = *table.contents();
  const bool searched =
      !table.path().empty() && contents.MemoryUse() <= kMaxSearchedTable;
  std::optional<std::string> text;  // read when it is first wanted
  for (size_t rank = 0; rank < contents.size(); ++rank) {
    for (const std::string& pattern : contents.Spellings(rank)) {
      const std::string concern = RegexConcern(pattern);
      if (concern.empty()) continue;
      SourcePosition at = use.position;
      if (searched && !text) text = read_(table.path()).value_or("");
      const int line = searched ? FindLine(*text, pattern) : 0;
      if (line > 0) at = {table.path(), line};
      const auto entry = entry_lines_.find({table.name(), pattern});
      if (entry != entry_lines_.end()) at = entry->second;
      warnings_.push_back(absl::StrFormat("%s:%d: warning: pattern \"%s\": %s",
                                          at.file, at.line, Printable(pattern),
                                          concern));
    }
  }
}

}  // namespace holdfast
