// `table`, the tables that are always there, and arguments that are tables
// (reference part 1, sections 1.3 and 1.7).
#include <set>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config/directives.h"
#include "config/expansion_items.h"
#include "config/hints.h"

namespace holdfast {
namespace {

constexpr size_t kMaxTableName = 2047;
constexpr size_t kMaxTablePath = 4095;  // PATH_MAX with its end

// An address as sessions print it.
std::string AddressText(const std::string& address) {
  return absl::StrContains(address, ':') ? absl::StrCat("[", address, "]")
                                         : address;
}

// What may stand behind "table-" in the name of a program.
bool IsProgramWord(absl::string_view word) {
  return !word.empty() && absl::c_all_of(word, [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
  });
}

std::shared_ptr<Table> StaticTable(const std::string& name) {
  return std::make_shared<Table>(name, Table::Kind::kList, "static", "");
}

}  // namespace

void DirectiveParser::AddBuiltinTables() {
  const std::string& server = config_->server_name;
  auto anyhost = StaticTable("<anyhost>");
  for (const char* entry : {"local", "0.0.0.0/0", "::/0"}) {
    anyhost->Add(entry, "");
  }
  // The short host name stands here and not in <localnames>, as in the
  // reference: `for local` must not take in more than it does there.
  auto anydestination = StaticTable("<anydestination>");
  anydestination->Add("*", "");
  const std::string shortened = server.substr(0, server.find('.'));
  if (!shortened.empty()) anydestination->Add(shortened, "");

  auto localnames = StaticTable("<localnames>");
  auto localhost = StaticTable("<localhost>");
  localnames->Add("localhost", "");
  if (!server.empty()) localnames->Add(server, "");
  localhost->Add("local", "");
  for (const std::string& address : options_.local_addresses) {
    localnames->Add(AddressText(address), "");
    localhost->Add(AddressText(address), "");
  }
  auto getpwnam = std::make_shared<Table>("<getpwnam>", Table::Kind::kDynamic,
                                          "getpwnam", "");
  for (const auto& table :
       {anyhost, anydestination, localnames, localhost, getpwnam}) {
    config_->tables[table->name()] = table;
  }
}

// Null if it was refused.
std::shared_ptr<Table> DirectiveParser::MakeTable(const std::string& name,
                                                  Table::Kind kind,
                                                  const std::string& backend,
                                                  const std::string& path) {
  if (config_->tables.count(name) > 0) {
    FailPlain(
        absl::StrFormat("table_create: table \"%s\" already defined", name));
    HintPosition();
    return nullptr;
  }
  if (name.size() > kMaxTableName) {
    FailPlain("table_create: table name too long");
    return nullptr;
  }
  if (path.size() > kMaxTablePath) {
    FailPlain("table_create: config file path too long");
    return nullptr;
  }
  auto table = std::make_shared<Table>(name, kind, backend, path);
  config_->tables[name] = table;
  return table;
}

bool DirectiveParser::ParseTable() {
  old_form_ = true;
  std::string name;
  if (!ExpectString(&name)) return false;
  if (PeekChar('{')) {
    // The entries of one that was refused are read, too, so that their lines
    // are not taken for directives.
    MakeTable(name, Table::Kind::kList, "static", "");
    return ParseTableEntries(name);
  }
  std::string source;
  if (!ExpectString(&source)) return false;
  if (!source.empty() && source[0] == '/') {
    return LoadTable(name, "static", source);
  }
  const size_t colon = source.find(':');
  std::string backend = source.substr(0, colon);
  std::string path;
  if (colon != std::string::npos) {
    path = source.substr(colon + 1);
    if (path.empty() || path[0] != '/') {
      return Fail(absl::StrCat("invalid backend parameter for table: ", name));
    }
  }
  if (backend == "file") backend = "static";
  return LoadTable(name, backend, path);
}

bool DirectiveParser::LoadTable(const std::string& name,
                                const std::string& backend,
                                const std::string& path) {
  const std::string failure =
      absl::StrFormat("invalid configuration file %s for table %s", path, name);
  if (backend == "static" || backend == "db") {
    const auto table = MakeTable(
        name, backend == "db" ? Table::Kind::kDynamic : Table::Kind::kMap,
        backend, path);
    if (table == nullptr) return false;
    if (path.empty()) return backend == "static" || Fail(failure);
    return LoadTableFile(table.get()) || Fail(failure);
  }
  if (backend == "getpwnam") {
    if (MakeTable(name, Table::Kind::kDynamic, backend, path) == nullptr) {
      return false;
    }
    return path.empty() || Fail(failure);
  }
  return DeclareProcessTable(name, backend, path);
}

// Any other word is the name of a program.
bool DirectiveParser::DeclareProcessTable(const std::string& name,
                                          const std::string& backend,
                                          const std::string& path) {
  // Without it the table is there all the same, so that nothing is said of its
  // uses.
  const auto table = MakeTable(name, Table::Kind::kDynamic, backend, path);
  TableCare care;
  if (!ParseTableCare(&care)) return false;
  if (table != nullptr) table->set_care(care);
  if (name.find_first_of("|\r\n") != std::string::npos) {
    Fail(absl::StrCat("invalid table name: ", Printable(name)));
    Hint("a program is told the name in a line of its own, between bars");
    return false;
  }
  if (IsProgramWord(backend) &&
      (!options_.has_table_program || options_.has_table_program(backend))) {
    return table != nullptr;
  }
  FailPlain(
      absl::StrFormat("table_create: backend \"%s\" does not exist", backend));
  HintPosition();
  HintNear(backend, {"file", "static", "db", "getpwnam"});
  return true;
}

// [timeout TIME] [keep TIME]
bool DirectiveParser::ParseTableCare(TableCare* care) {
  std::set<std::string> seen;
  while (PeekWord("timeout") || PeekWord("keep")) {
    const std::string option = Take().text;
    if (!seen.insert(option).second) {
      return Fail(absl::StrCat(option, " already specified for this table"));
    }
    const bool keep = option == "keep";
    if (!ExpectDelay(absl::StrCat("invalid ", option),
                     keep ? &care->keep : &care->timeout)) {
      return false;
    }
  }
  // A question that may take no time would never be answered.
  return care->timeout > absl::ZeroDuration() || Fail("invalid timeout: 0s");
}

// A value that cannot be expanded is an error at its own place, once.
void DirectiveParser::CheckAliases(const Table& table) {
  if (!table.is_static() || !checked_aliases_.insert(table.name()).second) {
    return;
  }
  std::vector<std::string> found;
  for (const TableContents::BadAlias& bad : table.contents()->bad_aliases()) {
    found.push_back(BadAliasText(table.path(), bad));
  }
  if (table.path().empty()) {
    for (const auto& [key, value] : table.entries()) {
      if (IsExpansion(value)) continue;
      const auto place = entry_lines_.find({table.name(), std::string(key)});
      const SourcePosition at =
          place != entry_lines_.end() ? place->second : lexer_.position();
      found.push_back(BadAliasText(at.file, {std::string(key), at.line}));
    }
  }
  for (std::string& message : found) {
    ++errors_;
    messages_.push_back(std::move(message));
    Hint(
        "an alias stands for users, addresses, commands, files, :include: and "
        "error:, with commas between");
  }
}

// Reports why not, but not where.
bool DirectiveParser::LoadTableFile(Table* table) {
  absl::StatusOr<std::shared_ptr<const TableContents>> contents = nullptr;
  if (tables_ != nullptr) {
    contents = tables_(*table);
  } else {
    const absl::StatusOr<std::string> text = read_(table->path());
    if (text.ok()) {
      contents = ParseTableBytes(table->backend(), table->path(), *text);
    } else {
      contents = absl::NotFoundError(
          absl::StrCat(table->path(), ": ", text.status().message()));
    }
  }
  if (!contents.ok()) {
    messages_.push_back(std::string(contents.status().message()));
    return false;
  }
  table->Replace(*std::move(contents));
  return true;
}

// "{ a, b }" or "{ a = b, c => d }", into the table declared as `name`.
bool DirectiveParser::ParseTableEntries(const std::string& name) {
  if (!TakeChar('{')) return SyntaxError();
  SkipNewlines();
  std::shared_ptr<Table> table;
  while (true) {
    std::string key;
    std::string value;
    if (!ExpectString(&key)) return false;
    entry_lines_[{name, key}] = lexer_.position();
    const bool pair = PeekChar('=') || Peek().kind == Token::Kind::kArrow;
    const Table::Kind kind = pair ? Table::Kind::kMap : Table::Kind::kList;
    if (table == nullptr) {
      table = std::make_shared<Table>(name, kind, "static", "");
    } else if (table->kind() != kind) {
      if (pair) expected_ = {"','", "'}'"};
      return SyntaxError();
    }
    if (pair) {
      Take();
      if (!ExpectString(&value)) return false;
    }
    table->Add(key, value);
    if (TakeChar(',')) {
      SkipNewlines();
      if (Peek().Is('}')) return TrailingComma();
      continue;
    }
    SkipNewlines();
    if (TakeChar('}')) break;
  }
  config_->tables[name] = table;
  return true;
}

bool DirectiveParser::PeekTableArgument() {
  return PeekString() || PeekChar('{') || PeekChar('<');
}

bool DirectiveParser::TrailingComma() {
  expected_.push_back("a string");
  return SyntaxError();
}

bool DirectiveParser::ParseTableArgument(TableRef* table) {
  if (TakeChar('<')) {
    std::string name;
    if (!ExpectString(&name)) return false;
    if (!TakeChar('>')) return SyntaxError();
    const auto found = config_->tables.find(name);
    if (found == config_->tables.end()) {
      return FailWithHint(absl::StrCat("no such table: ", name), name,
                          KeysOf(config_->tables));
    }
    *table = found->second;
    return true;
  }
  const bool list = PeekChar('{');
  if (!list && !PeekString()) return SyntaxError();
  std::string name;
  do {
    name = absl::StrFormat("<dynamic:%d>", anonymous_tables_++);
  } while (config_->tables.count(name) > 0);
  const auto single = MakeTable(name, Table::Kind::kList, "static", "");
  if (single == nullptr) return false;
  if (list) {
    if (!ParseTableEntries(name)) return false;
  } else {
    single->Add(Take().text, "");
  }
  *table = config_->tables[name];
  return true;
}

bool DirectiveParser::FitsUse(const TableRef& table, Kinds kinds,
                              TableService service) {
  // An empty file says nothing about its kind.
  if (table->is_static() && !table->path().empty() &&
      table->entries().empty()) {
    return true;
  }
  switch (table->kind()) {
    case Table::Kind::kList:
      return (kinds & kLists) != 0;
    case Table::Kind::kMap:
      return (kinds & kMaps) != 0;
    case Table::Kind::kDynamic:
      return table->backend() != "getpwnam" ||
             service == TableService::kUserinfo;
  }
  return false;
}

bool DirectiveParser::CheckUse(const TableRef& table, Kinds kinds,
                               TableService service,
                               absl::string_view lookups) {
  config_->tables.at(table->name())->NoteUse(service);
  return FitsUse(table, kinds, service) ||
         Fail(absl::StrFormat("table \"%s\" may not be used for %s lookups",
                              table->name(), lookups));
}

bool DirectiveParser::ParseStringList(std::vector<std::string>* list) {
  if (!TakeChar('{')) return SyntaxError();
  SkipNewlines();
  while (true) {
    if (!ExpectString(&list->emplace_back())) return false;
    if (TakeChar(',')) {
      SkipNewlines();
      if (Peek().Is('}')) return TrailingComma();
      continue;
    }
    SkipNewlines();
    if (TakeChar('}')) return true;
  }
}

}  // namespace holdfast
