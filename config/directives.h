// The grammar of smtpd.conf(5), one method for each thing it knows.  Used by
// ParseConfig() only; each parse_*.cc holds one family of directives.
//
// A method that returns bool has taken its part of the line and returns true,
// or has reported what is wrong with it and returns false: the rest of the line
// is then skipped.
#ifndef HOLDFAST_CONFIG_DIRECTIVES_H_
#define HOLDFAST_CONFIG_DIRECTIVES_H_

#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
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
  DirectiveParser(const ParseOptions& options, const FileReader& read,
                  const TableSource& tables);

  ParseResult Run();

 private:
  // ---- parser.cc: tokens, errors, what is common.  Every question about the
  // next token is remembered: what was asked in vain is what was expected.
  const Token& Peek();
  Token Take();
  bool PeekString();
  bool PeekNumber();
  bool PeekKeyword(absl::string_view word);
  bool PeekAnyKeyword(std::initializer_list<absl::string_view> words);
  bool PeekWord(absl::string_view word);  // one of ours
  bool PeekChar(char c);
  bool TakeKeyword(absl::string_view word);
  bool TakeWord(absl::string_view word);
  bool TakeChar(char c);
  bool ExpectKeyword(absl::string_view word);
  bool ExpectString(std::string* text);
  bool ExpectNumber(int64_t* number);
  void SkipNewlines();
  void SkipLine();

  // ---- parse_errors.cc.  All report; those with a result return false.
  bool SyntaxError();
  bool Fail(absl::string_view message);       // FILE:LINE: MESSAGE
  bool FailPlain(absl::string_view message);  // smtpd: MESSAGE
  bool FailWithHint(absl::string_view message, absl::string_view word,
                    const std::vector<std::string>& candidates);
  // A name that a listener wants: MESSAGE NAME, without a position.
  bool FailUnknownName(absl::string_view message, const std::string& name,
                       const std::vector<std::string>& candidates);
  void Say(absl::string_view message);
  // Lines below the error.
  void Hint(absl::string_view text);
  void HintNear(absl::string_view word,
                const std::vector<std::string>& candidates);
  void HintPosition();
  void HintExpected(const Token& token);
  void HintDirective();
  void NoteWord(const Token& token);
  void FinishBadLine();

  template <class Map>
  static std::vector<std::string> KeysOf(const Map& map) {
    std::vector<std::string> keys;
    for (const auto& [key, value] : map) keys.push_back(key);
    return keys;
  }

  void DefineMacros();
  bool ParseDirective();
  bool ParseWordDirective();  // a macro, or a directive of ours
  bool ParseKeywordDirective();
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
  bool DeclareProcessTable(const std::string& name, const std::string& backend,
                           const std::string& path);
  bool ParseTableCare(TableCare* care);
  bool LoadTableFile(Table* table);
  bool ParseTableEntries(const std::string& name);
  // A <name>, a string or a brace list.
  bool ParseTableArgument(TableRef* table);
  bool PeekTableArgument();
  bool TrailingComma();
  // Whether it is of a kind in `kinds` and offers the service; CheckUse()
  // reports.
  enum Kinds { kLists = 1, kMaps = 2, kListsAndMaps = 3 };
  bool FitsUse(const TableRef& table, Kinds kinds, TableService service);
  bool CheckUse(const TableRef& table, Kinds kinds, TableService service,
                absl::string_view lookups);
  // { A, B }: the names alone.
  bool ParseStringList(std::vector<std::string>* list);

  // ---- parse_warnings.cc
  // The table's entries will be used as regular expressions.
  struct RegexUse {
    SourcePosition position;
    TableRef table;
  };
  void NoteRegex(const TableRef& table);
  void Warn();
  void WarnOfPatterns(const RegexUse& use);
  void WarnOfAliases();
  void WarnOfChains();
  void WarnOfMilters();

  // ---- parse_globals.cc
  bool ParseAdmd();
  bool ParseBounce();
  bool ParseMda();
  bool ParseMta();
  bool ParseMtaLimits(MtaLimits* limits);
  bool ParseQueue();
  bool ParseQueueEncryption();
  bool CheckQueueKey(const std::string& key);
  bool ParseQueueOfOurs();
  bool ParseQueueHistory();
  bool ParseScheduler();
  bool ParseSmtp();
  bool ParseSmtpLimits(SmtpLimits* limits);
  struct LimitKey;
  bool ParseLimits(const std::vector<LimitKey>& keys, absl::string_view what);
  bool SetLimit(const std::vector<LimitKey>& keys, absl::string_view what,
                const std::string& key, int64_t value);

  // ---- parse_tls.cc
  bool ParseCa();
  bool ParsePki();
  bool SetDhe(const std::string& word, Pki* pki);
  bool ParseSrs();
  bool CheckProtocols(const std::string& text);
  void CheckAliases(const Table& table);
  void CheckPkis();

  // ---- parse_filter.cc
  bool ParseProc();
  bool ParseProcOptions(Processor* processor);
  bool ParseFilterCare(FilterCare* care, absl::string_view what,
                       std::set<std::string>* seen, bool* taken);
  bool ParseMilter(Filter* filter);
  bool ParseFilter();
  bool ParsePhaseFilter(PhaseFilter* filter);
  bool ParsePhaseCondition(PhaseFilter* filter);
  bool ParsePhaseDecision(PhaseFilter* filter);
  bool ParseFilterChain(std::vector<std::string>* chain);
  bool ParseFilterReference(std::string* name);
  bool FailNoFilter(const std::string& name);

  // ---- parse_listen.cc
  struct ListenOptions;
  bool ParseListen();
  bool ParseSocketListener();
  bool ParseInterfaceListener();
  bool ParseListenTls(ListenOptions* options, bool* taken);
  bool ParseListenFlag(ListenOptions* options, bool* taken);
  bool ParseListenArgument(ListenOptions* options, bool* taken);
  bool ParseListenOptionOfOurs(ListenOptions* options, bool* taken);
  bool ParseListenAuth(ListenOptions* options);
  bool ParseListenPort(ListenOptions* options);
  bool ParseListenTables(ListenOptions* options);
  bool ParseListenTag(bool seen, std::string* tag);
  bool SetProxy(ListenOptions* options, Listener::Proxy proxy);
  bool FinishListener(ListenOptions* options);

  // ---- parse_action.cc
  struct ActionOptions;
  bool ParseAction();
  bool ParseActionMethod(ActionOptions* options);
  bool ParseCommonOption(ActionOptions* options, bool* taken);
  bool ParseBounceText(ActionOptions* options);
  bool ParseVerp(ActionOptions* options);
  bool ParseLocalOption(ActionOptions* options, bool* taken);
  bool ParseMapping(ActionOptions* options, const std::string& word);
  bool ParseActionUser(ActionOptions* options);
  bool ParseWrapper(ActionOptions* options);
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
  const TableSource& tables_;  // may be empty
  Lexer lexer_;
  std::optional<Token> next_;
  std::shared_ptr<Config> config_ = std::make_shared<Config>();
  std::vector<std::string> messages_;
  int errors_ = 0;
  int includes_ = 0;
  int anonymous_tables_ = 0;
  uint32_t anonymous_chains_ = 0;
  bool socket_listener_seen_ = false;
  std::optional<std::string> services_;  // services(5), once it was wanted
  std::vector<std::string> expected_;    // what next_ was compared with
  std::vector<std::string> line_;        // what of it was taken, as written
  bool old_form_ = false;                // of this line
  std::vector<std::string> warnings_;
  // By the table's name and the key as written.
  std::map<std::pair<std::string, std::string>, SourcePosition> entry_lines_;
  std::vector<RegexUse> regex_uses_;
  std::set<std::string> checked_aliases_;  // names of tables
};

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_DIRECTIVES_H_
