// The grammar of smtpd.conf(5), one method for each thing it knows.  Used by
// ParseConfig() only; each parse_*.cc holds one family of directives.
//
// A method that returns bool has taken its part of the line and returns true,
// or has reported what is wrong with it and returns false: the rest of the line
// is then skipped.  What the grammar knows but this version cannot do is
// reported by NotYet(), which does not stop the line, so that nothing follows
// from it but what is true.
#ifndef HOLDFAST_CONFIG_DIRECTIVES_H_
#define HOLDFAST_CONFIG_DIRECTIVES_H_

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "config/config.h"
#include "config/lexer.h"
#include "config/parser.h"

namespace holdfast {

// Included files that are open at once, and all of them together: a file that
// includes itself must end somewhere.
inline constexpr size_t kMaxIncludeDepth = 32;
inline constexpr int kMaxIncludes = 1000;

class DirectiveParser {
 public:
  DirectiveParser(const ParseOptions& options, const FileReader& read);

  ParseResult Run();

 private:
  // ---- parser.cc: tokens, errors, what is common
  const Token& Peek();
  Token Take();
  bool TakeKeyword(absl::string_view word);
  bool TakeChar(char c);
  bool PeekKeyword(absl::string_view word) { return Peek().IsKeyword(word); }
  bool ExpectKeyword(absl::string_view word);
  bool ExpectString(std::string* text);
  bool ExpectNumber(int64_t* number);
  void SkipNewlines();
  void SkipLine();

  // All four report; the first three return false, NotYet() returns true.
  bool SyntaxError();
  bool Fail(absl::string_view message);   // FILE:LINE: MESSAGE
  bool Abort(absl::string_view message);  // smtpd: MESSAGE, and stop
  bool NotYet(absl::string_view what);
  void Say(absl::string_view message);

  void DefineMacros();
  bool ParseDirective();
  bool ParseWordDirective();  // a macro, or a directive of ours
  bool ParseKeywordDirective(const std::string& word);
  bool ParseInclude();
  bool ParseSpool();
  bool ExpectDelay(absl::string_view error, absl::Duration* delay);
  bool ExpectSize(absl::string_view error, uint64_t* size);

  // ---- parse_table.cc
  void AddBuiltinTables();
  std::shared_ptr<Table> MakeTable(const std::string& name, Table::Kind kind,
                                   const std::string& backend,
                                   const std::string& path);
  bool ParseTable();
  bool LoadTable(const std::string& name, const std::string& backend,
                 const std::string& path);
  bool ParseTableEntries(const std::string& name);
  // A <name>, a string or a brace list.
  bool ParseTableArgument(TableRef* table);
  bool PeekTableArgument();
  // Whether it is of a kind in `kinds` and offers the service; reports.
  enum Kinds { kLists = 1, kMaps = 2, kListsAndMaps = 3 };
  bool CheckUse(const TableRef& table, Kinds kinds, TableService service,
                absl::string_view lookups);
  // { A, B }: the names alone.
  bool ParseStringList(std::vector<std::string>* list);

  // ---- parse_globals.cc
  bool ParseAdmd();
  bool ParseBounce();
  bool ParseMda();
  bool ParseMta();
  bool ParseMtaLimits(MtaLimits* limits);
  bool ParseQueue();
  bool ParseQueueOfOurs();
  bool ParseScheduler();
  bool ParseSmtp();
  struct LimitKey;
  bool ParseLimits(const std::vector<LimitKey>& keys, absl::string_view what);
  bool SetLimit(const std::vector<LimitKey>& keys, absl::string_view what,
                const std::string& key, int64_t value);

  // ---- parse_unsupported.cc: what the grammar knows and we do not do yet
  bool ParseCa();
  bool ParsePki();
  bool ParseSrs();
  bool ParseProc();
  bool ParseProcOptions();
  bool ParseFilter();
  bool ParsePhaseFilter();
  bool ParsePhaseCondition(const std::string& phase);
  bool ParsePhaseDecision(const std::string& phase);
  bool ParseOptionalRegexTable();
  bool ParseFilterChain();
  bool ParseFilterReference();  // NAME or { A, B }

  // ---- parse_listen.cc
  struct ListenOptions;
  bool ParseListen();
  bool ParseSocketListener();
  bool ParseInterfaceListener();
  bool ParseListenOption(ListenOptions* options, bool* taken);
  bool ParseListenTls(ListenOptions* options, bool* taken);
  bool ParseListenAuth(ListenOptions* options);
  bool ParseListenPort(ListenOptions* options);
  bool ParseListenTables(ListenOptions* options, const std::string& word);
  bool ParseListenTag(bool* seen, std::string* tag);
  bool FinishListener(ListenOptions* options);

  // ---- parse_action.cc
  struct ActionOptions;
  bool ParseAction();
  bool ParseActionMethod(ActionOptions* options);
  bool ParseLocalOption(ActionOptions* options, bool* taken);
  bool ParseMapping(ActionOptions* options, const std::string& word);
  bool ParseActionUser(ActionOptions* options);
  bool ParseRelayOption(ActionOptions* options, bool* taken);
  bool ParseRelayHost(ActionOptions* options);
  bool ParseRelayBackup(ActionOptions* options);
  bool ParseRelayString(ActionOptions* options, const std::string& word);
  bool ParseRelayTable(ActionOptions* options, const std::string& word);
  bool ParseRelayFlag(ActionOptions* options, const std::string& word);

  // ---- parse_match.cc
  struct MatchOptions;
  bool ParseMatch();
  bool ParseCriterion(MatchOptions* options, bool* taken);
  bool ParseFrom(MatchOptions* options, bool negated);
  bool ParseFor(MatchOptions* options, bool negated);
  bool ParseCriterionTable(Criterion* criterion, Kinds kinds,
                           TableService service, absl::string_view lookups);
  bool ParsePlainCriterion(std::optional<Criterion>* criterion,
                           const std::string& word, bool negated, Kinds kinds,
                           TableService service, absl::string_view lookups);

  const ParseOptions& options_;
  const FileReader& read_;
  Lexer lexer_;
  std::optional<Token> next_;
  std::shared_ptr<Config> config_ = std::make_shared<Config>();
  std::vector<std::string> messages_;
  int errors_ = 0;
  bool aborted_ = false;
  int includes_ = 0;
  int anonymous_tables_ = 0;
  bool socket_listener_seen_ = false;
  bool srs_key_seen_ = false;
  std::optional<std::string> services_;  // services(5), once it was wanted

  // Names that were declared, of things this version does not do.
  std::set<std::string> filters_;
  std::set<std::string> filter_chains_;
  std::set<std::string> procs_;
  std::set<std::string> wrappers_;
};

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_DIRECTIVES_H_
